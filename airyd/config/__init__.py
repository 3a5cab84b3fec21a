"""Configuration: the options of ``twistd airyd``, their values, and the catalogue of destinations."""
