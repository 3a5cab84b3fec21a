"""The console script ``airyd``: ``airyd tail``, ``publish``, ``token`` and ``revoke``.

``stompclient`` (sans I/O), ``opening`` and ``connection`` are a client for any program; ``tail``, ``following``,
``notices``, ``publish``, ``render``, ``lines`` and ``console`` are what the first two do, ``token`` and ``revoke`` the
others; ``post`` is a request to the admin endpoint; ``tls`` and ``reasons`` say why a server can't be reached;
``usage``, ``options`` and ``command`` put them together.
"""

from airyd.cli.main import main

__all__ = ["main"]
