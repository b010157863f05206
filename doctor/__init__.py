"""Is this image, on this machine, what the platform will start? Asked without an account."""
