"""The front of the server: connections, heads and bodies, until a request is whole.

One thread holds every connection, so that a client costs a socket and no thread, however slow,
idle or dishonest it is. gunicorn stays the manager of processes and the parser of heads.
"""
