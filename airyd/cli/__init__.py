"""The console script ``airyd``: ``airyd tail``, ``publish``, ``token`` and ``revoke``.

``stompclient`` (sans I/O) and ``connection`` are a client for any program; ``tail``, ``publish``, ``render``,
``lines`` and ``console`` are what the first two do, ``token`` and ``revoke`` the others; ``post`` is a request to the
admin endpoint; ``usage``, ``options`` and ``command`` put them together.
"""

from airyd.cli.command import main

__all__ = ["main"]
