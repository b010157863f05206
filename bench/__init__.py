"""docker run IMAGE bench: how fast this model answers here, and how many requests at a time pay."""
