"""The console script ``airyd``: ``airyd tail``, ``publish``, ``token`` and ``revoke``.

``main`` puts them together from the ``options``. ``tail`` is a STOMP client on Twisted: ``stomp_client`` (sans I/O)
in a ``connection``, whose events ``render`` turns into lines. ``publish`` and ``revoke`` ask the admin endpoint through
``admin_client``. ``terminal`` is where all of them write.
"""

from airyd.cli.main import main

__all__ = ["main"]
