"""The runtime of a process around its reactor: clock, signals, log, garbage collector, twistd's files."""
