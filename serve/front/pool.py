"""A few threads that work on whole requests, in the order in which these became whole."""

import queue
import threading
from collections.abc import Callable

Job = Callable[[], None]


class Pool:
    """At most `threads` threads, each started when it is first needed."""

    def __init__(self, name: str, threads: int) -> None:
        self._name, self._most = name, threads
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    def submit(self, job: Job) -> None:
        """From one thread only. `job` must not raise; the caller bounds how many wait."""
        self._jobs.put(job)
        # taking the token, and not asking for it, keeps two jobs from counting on one idle thread
        if self._idle.acquire(blocking=False) or self._started == self._most:
            return
        self._started += 1
        name = f"{self._name}-{self._started}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                self._idle.release()
                job = self._jobs.get()
            job()
