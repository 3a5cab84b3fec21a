"""airyd on more than one core."""
