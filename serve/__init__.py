"""The HTTP server: requests -> images -> batches -> engines -> answers."""
