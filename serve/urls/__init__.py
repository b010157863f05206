"""`{"url": ...}` in a body: photos that the server fetches itself, from public addresses only."""
