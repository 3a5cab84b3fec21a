"""What a process needs around its reactor: clock, signals, log, garbage collector, twistd's files."""
