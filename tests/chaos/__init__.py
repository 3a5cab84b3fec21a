"""Faults on real processes, with a ledger that knows what every client must have got (``make chaos``)."""
