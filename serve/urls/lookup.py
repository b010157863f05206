"""The look-up of a name, ended in time.

The system's resolver takes no time limit: it waits as long as its own configuration says, which may
be half a minute for each name. So it is asked in a thread, which is left behind where it is late.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

MOST = 32
"""Look-ups under way, of the whole server, those included that nobody waits for any longer: four
for each fetch, so that others go on while a name's own server is silent."""

_places = threading.Semaphore(MOST)


def in_time(look_up: Callable[[], list[str]], deadline: float) -> list[str]:
    """What `look_up` gives or raises. Raises TimeoutError at `deadline`, of the monotonic clock."""
    if not _places.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise TimeoutError
    found: Future[list[str]] = Future()
    # a daemon: the server's end must not wait for it, as it would for an executor's thread
    thread = threading.Thread(target=_run, args=(look_up, found), name="look-up", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread is to be had: nobody else would give the place back
        _places.release()
        raise
    return found.result(max(0.0, deadline - time.monotonic()))


def _run(look_up: Callable[[], list[str]], found: Future[list[str]]) -> None:
    try:
        found.set_result(look_up())
    except Exception as error:  # raised again where the answer is awaited
        found.set_exception(error)
    finally:
        _places.release()
