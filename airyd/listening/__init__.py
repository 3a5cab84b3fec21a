"""Listening: endpoint strings, their checks at start, and the ports that they open."""
