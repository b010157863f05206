"""GET /: a page to try the server by hand; imported by the first request for it."""
