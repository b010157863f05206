"""Where one request's time goes: marks that the code on its way leaves, in the answering thread.

A request is answered by one thread, so its trace is a context variable: code that marks a stage
need not be handed one, and outside a request a mark does nothing.
"""

import time
from contextvars import ContextVar

from container import log

STAGES = ("read", "decode", "queue", "engine", "encode")
"""The body arrives; it becomes images; it waits for a thread and they for an engine; they are
classified (from the first one taken to the last one answered); the answer is written."""


MAX_ID_CHARACTERS = 64
"""Of an inference id, as the platform limits it."""


class Trace:
    """Seconds of the monotonic clock. `model` is the name of the model that was asked for."""

    __slots__ = ("began", "_last", "seconds", "images", "model", "refusal", "timed")

    def __init__(self, began: float | None = None) -> None:
        self.began = self._last = time.monotonic() if began is None else began
        self.seconds: dict[str, float] = {}
        self.images = 0
        """Images that the engine was given."""
        self.model = ""
        self.refusal = ""
        """The class of the refusal; empty for an answer."""
        self.timed = False
        """The caller asked for these times."""

    def mark(self, stage: str, at: float | None = None) -> None:
        """The time since the mark before was this stage's. `at` where it ended earlier than now."""
        now = time.monotonic() if at is None else at
        self.seconds[stage] = self.seconds.get(stage, 0.0) + max(0.0, now - self._last)
        self._last = now


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def begin(inference_id: str = "", began: float | None = None) -> Trace:
    """A request came to this thread; it `began` when its first byte came, now unless told so.

    Its id, if it is plain text, is in each line it logs.
    """
    trace = Trace(began)
    _current.set(trace)
    plain = inference_id[:MAX_ID_CHARACTERS] if inference_id.isascii() else ""
    log.inference_id.set(plain if plain.isprintable() else "")
    return trace


def current() -> Trace | None:
    return _current.get()


def end() -> Trace | None:
    """The request's trace; what the thread does from here on belongs to no request."""
    trace = _current.get()
    _current.set(None)
    log.inference_id.set("")
    return trace


def mark(stage: str, at: float | None = None) -> None:
    trace = _current.get()
    if trace is not None:
        trace.mark(stage, at)


def classified(images: int, taken: float) -> None:
    """Of a request whose images the engine has answered; `taken` is when it took the first."""
    trace = _current.get()
    if trace is not None:
        trace.images += images
        trace.mark("queue", taken)
        trace.mark("engine")


def asks(model: str, timed: bool = False) -> None:
    """What the request turned out to ask for."""
    trace = _current.get()
    if trace is not None:
        trace.model = model
        trace.timed = timed


def refused(error: BaseException) -> None:
    trace = _current.get()
    if trace is not None:
        trace.refusal = type(error).__name__


def server_timing(trace: Trace, total: float) -> str:
    """The value of a Server-Timing header, durations in milliseconds."""
    parts = [f"{stage};dur={trace.seconds[stage] * 1000:.2f}"
             for stage in STAGES if stage in trace.seconds]  # fmt: skip
    return ", ".join([*parts, f"total;dur={total * 1000:.2f}"])
