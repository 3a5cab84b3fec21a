"""airyd as a process of its own, seen by real clients over real sockets."""
