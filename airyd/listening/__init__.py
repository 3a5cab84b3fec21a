"""Where airyd listens: endpoint strings, checked at start, and the ports that they open."""
