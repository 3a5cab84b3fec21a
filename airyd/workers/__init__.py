"""More than one core: a parent that has the sockets and the admin page, and workers that serve the clients."""
