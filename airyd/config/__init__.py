"""What the operator asks for: command-line options, their values, and the catalogue of destinations."""
