"""The commands ``airyd tail``, ``publish``, ``token`` and ``revoke``: what an operator types.

``main`` puts them together from the ``options``. ``tail`` is a STOMP client on Twisted: ``stomp_client`` (sans I/O)
in a ``connection``, whose events ``render`` turns into lines. ``publish`` and ``revoke`` ask the admin endpoint through
``admin_client``. ``terminal`` is where all of them write.
"""
