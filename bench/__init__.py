"""The benchmark suite: airyd beside a plain Autobahn server and, where it was built, a server in C (``make bench``)."""
