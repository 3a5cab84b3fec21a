"""The ``sample:`` source: plays made-up Airy conversations, or a recording."""
