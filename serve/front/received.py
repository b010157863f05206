"""A whole request on its way through the server: what the application finds in its environment."""

import io
import threading
import time
from dataclasses import dataclass, field
from typing import Any

KEY = "serve.received"
"""Of the WSGI environment."""


@dataclass
class Received:
    """Times are of the monotonic clock, in seconds."""

    request: Any
    """gunicorn's, with method, path and header fields."""
    body: io.BytesIO
    bytes: int
    """Of the body."""
    peer: Any
    local: Any
    began: float
    """When the first byte of its head came."""
    whole: float
    """When the last byte of its body came."""
    deadline: float
    """Nobody waits for an answer that is later."""
    taken: float = 0.0
    """When a thread began with it; what lies between is its wait for one."""
    hung_up: threading.Event = field(default_factory=threading.Event)
    """The client has closed its side: what is not done yet need not be done."""

    def header(self, name: str) -> str:
        """A header field, whatever its case; "" where there is none."""
        wanted = name.upper()
        return ", ".join([value for known, value in self.request.headers if known == wanted])

    def late(self) -> bool:
        return time.monotonic() >= self.deadline
