"""The console script ``airyd``: ``airyd tail``, ``airyd publish`` and ``airyd token``.

``stompclient`` (sans I/O) and ``connection`` are a client for any program; ``tail``, ``publish``, ``render``,
``lines`` and ``console`` are what the first two do, ``token`` the third; ``options`` and ``command`` put them together.
"""

from airyd.cli.command import main

__all__ = ["main"]
