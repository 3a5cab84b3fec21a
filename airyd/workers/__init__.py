"""Multiple processes (``--workers``): a parent with the sockets and the admin page, and workers that serve clients."""
