"""Redis as an event source that all nodes share: a stream per destination, or a Pub/Sub channel."""
