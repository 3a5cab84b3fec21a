"""The benchmarks: airyd compared with a plain Autobahn server and, if it was built, a server in C (``make bench``)."""
