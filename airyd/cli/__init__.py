"""The commands ``airyd tail``, ``publish``, ``token`` and ``revoke``: what an operator types."""
