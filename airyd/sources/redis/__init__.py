"""Redis Streams as the feed: one stream per destination, read by every node."""
