"""Redis Streams as the feed: its modules over connections in memory, and as a whole on a real redis-server."""
