"""Redis as the feed, for every node the same one: a stream per destination, or a channel."""
