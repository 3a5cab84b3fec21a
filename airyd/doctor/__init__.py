"""The doctor: looks for mistakes in the options, in Redis and on this machine (``airyd doctor``)."""
