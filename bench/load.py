"""The clients: each asks again as soon as it has its answer, on a connection that it keeps.

They are threads of one process that shares the processors with the server; it says what it took.
"""

import threading
import time
from dataclasses import dataclass, field

from bench.client import Client

JPEG_START = b"\xff\xd8"
COMMENT = b"\xff\xfe"


class BenchError(Exception):
    """The server gave an answer that is neither a prediction nor a refusal for the moment."""


def distinct(photo: bytes, text: str) -> bytes:
    """The same picture in a file that differs: a comment segment behind the JPEG's first marker."""
    comment = text.encode()
    size = (len(comment) + 2).to_bytes(2, "big")
    return JPEG_START + COMMENT + size + comment + photo[len(JPEG_START) :]


@dataclass
class Load:
    concurrency: int
    seconds: float = 0.0
    """From the start to the last answer."""
    latencies: list[float] = field(default_factory=list)
    """Of predictions, in seconds."""
    refused: int = 0
    """Answers of 503."""
    client_seconds: float = 0.0
    """Of processor, that the clients took."""

    @property
    def rate(self) -> float:
        """Photos answered a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """The milliseconds that `share` of all latencies do not exceed; nan without any."""
        ordered = sorted(self.latencies)
        if not ordered:
            return float("nan")
        return 1000 * ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


def run(port: int, photos: list[bytes], concurrency: int, seconds: float) -> Load:
    """Raises BenchError."""
    load, failures = Load(concurrency), list[str]()
    begun, used = time.perf_counter(), time.process_time()
    run_id = time.time_ns()

    def ask(number: int) -> None:
        client = Client(port)
        count = number
        # at least one answer each, however slow the server is
        while True:
            body = distinct(photos[count % len(photos)], f"{run_id}-{number}-{count}")
            count += 1
            sent = time.perf_counter()
            status, text = client.ask(body)
            now = time.perf_counter()
            if status == 200 and b'"probability"' in text:
                load.latencies.append(now - sent)
            elif status == 503:
                load.refused += 1
                time.sleep(0.01)
            else:
                raise BenchError(f"HTTP {status}: {text[:200].decode(errors='replace')}")
            if failures or now - begun >= seconds:
                return client.close()

    def guarded(number: int) -> None:
        try:
            ask(number)
        except (OSError, BenchError) as error:
            failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise BenchError(failures[0])
    load.seconds = time.perf_counter() - begun
    load.client_seconds = time.process_time() - used
    return load
