"""The doctor: looks for what operators get wrong, in the options, in Redis and on this machine (``airyd doctor``)."""
