"""Clients that ask a server again and again, and remember every answer."""

import threading
import time

import requests

from tests import make
from tests.serving import Server

PHOTO = make.photo()


class Load:
    def __init__(self, server: Server, clients: int = 4, pause: float = 0.02) -> None:
        self.server, self.statuses, self.running = server, list[int | str](), True
        self.slowest, self._pause = 0.0, pause
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _ask(self) -> None:
        while self.running:
            start = time.monotonic()
            try:
                self.statuses.append(self.server.invoke(PHOTO).status_code)
            except requests.RequestException as error:
                self.statuses.append(_why(error))
                time.sleep(0.01)
            self.slowest = max(self.slowest, time.monotonic() - start)
            time.sleep(self._pause)

    def stop(self) -> None:
        self.running = False
        for thread in self.threads:
            thread.join()


def _why(error: requests.RequestException) -> str:
    """Nothing listens; what listened ended before a byte of an answer; or an answer was cut."""
    if "Connection refused" in str(error):
        return "refused"
    silent = isinstance(error, requests.ConnectionError) and "Connection aborted" in str(error)
    return "unanswered" if silent else type(error).__name__
