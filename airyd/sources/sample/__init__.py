"""The ``sample:`` source: made-up conversations, played again and again."""
