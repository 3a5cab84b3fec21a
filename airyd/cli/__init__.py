"""The console script ``airyd``: ``airyd tail`` and ``airyd publish``.

``stompclient`` (sans I/O) and ``connection`` are a client for any program; ``tail``, ``publish``, ``render``,
``lines`` and ``console`` are what the two commands do; ``options`` and ``command`` put them together.
"""

from airyd.cli.command import main

__all__ = ["main"]
