"""The command-line program ``airyd`` with its commands, such as ``tail``, ``publish`` and ``config``.

``main`` runs a command from its parsed ``options``. ``tail`` is a STOMP client on Twisted: ``stomp_client`` (sans I/O)
in a ``connection``; ``render`` turns its events into lines. ``publish`` and ``revoke`` use the admin page through
``admin_client``. ``config`` and ``serve`` take the daemon's options (``daemon_options``). All
commands write through ``terminal``.
"""
