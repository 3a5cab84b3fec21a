"""What the admin API asks of one process: who is connected, how its destinations do, what happened to an event."""
