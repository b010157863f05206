"""What batch transform should do with this server: the answer to /execution-parameters.

The platform asks once, before its first record; what a job's request says itself comes first.
"""

from collections.abc import Iterable
from typing import Protocol

from container.settings import MAX_BATCH_PAYLOAD_MIB, Settings
from serve.refusal import BusyError

SMALLEST_PAYLOAD_MIB = 6
"""The platform's default; photos are rarely larger."""

LONGEST_WAIT_SECONDS = 60.0
"""No photo should wait longer for those before it: the platform gives up after 600 s by default."""


class Engine(Protocol):
    @property
    def batch_seconds(self) -> float | None: ...


def parameters(settings: Settings, engines: Iterable[Engine]) -> dict[str, int | str]:
    """As many requests of one photo each as keep decoding and engines at work, no more than the
    engines answer while one may wait, by the time that a mini-batch took when they warmed up.

    The platform holds requests times payload to 100 MB. Raises BusyError before an engine is warm.
    """
    seconds = [each.batch_seconds for each in engines]
    per_second = sum(settings.most_batch_images / each for each in seconds if each)
    if not per_second:
        raise BusyError("no engine has measured itself yet")
    patient = int(per_second * LONGEST_WAIT_SECONDS)
    room = MAX_BATCH_PAYLOAD_MIB // SMALLEST_PAYLOAD_MIB
    concurrent = max(1, min(settings.planned_http_threads, patient, room))
    return {
        "MaxConcurrentTransforms": concurrent,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": MAX_BATCH_PAYLOAD_MIB // concurrent,
    }
