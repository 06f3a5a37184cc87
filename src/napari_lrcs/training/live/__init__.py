"""Training that goes on while its user paints."""
