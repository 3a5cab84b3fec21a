"""Injects faults into real processes, and checks every client's events against a ledger (``make chaos``)."""
