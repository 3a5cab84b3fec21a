"""The command-line program ``airyd`` with its commands ``tail``, ``publish``, ``token`` and ``revoke``.

``main`` runs a command from its parsed ``options``. ``tail`` is a STOMP client on Twisted: ``stomp_client`` (sans I/O)
in a ``connection``; ``render`` turns its events into lines. ``publish`` and ``revoke`` use the admin page through
``admin_client``. All commands write through ``terminal``.
"""
