"""The admin page (twisted.web): an HTTP API and a console for operators; loopback only, unless it has a token.

A request comes in at ``server``, passes the checks of ``dispatcher``, and is carried out by the handler of its row in
``routes``: one of ``pages``, or one of ``api``, which makes a query (``airyd.management``) of it.
"""
