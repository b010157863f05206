"""The reason of a failed start, left by a worker for gunicorn's parent process to print last.

The parent imports this module before it forks, so that the page is shared with its workers.
"""

import mmap
import os
import signal

PAGE_BYTES = 4096

_page = mmap.mmap(-1, PAGE_BYTES)


def leave(text: str) -> None:
    """Keeps the first text of a run: it is the nearest to the cause."""
    if not read():
        data = " ".join(text.split()).encode()[: PAGE_BYTES - 1]
        _page[: len(data)] = data


def read() -> str:
    return bytes(_page[:]).rstrip(b"\0").decode("utf-8", "replace")


def end_server(text: str) -> None:
    """Called in a worker: the parent ends at once, non-zero, with `text` as the log's last line."""
    leave(text)
    os.kill(os.getppid(), signal.SIGQUIT)
