"""A search over training jobs on this machine."""
