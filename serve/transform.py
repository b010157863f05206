"""What batch transform should do with this server: the answer to /execution-parameters.

The platform asks once, before its first record; what a job's request says itself comes first.
"""

import math
from collections.abc import Iterable
from typing import Protocol

from container.settings import MAX_BATCH_PAYLOAD_MIB, Settings
from serve.refusal import BusyError

SMALLEST_PAYLOAD_MIB = 6
"""The platform's default; photos are rarely larger."""

LONGEST_WAIT_SECONDS = 60.0
"""No photo should wait longer for those before it: the platform gives up after 600 s by default."""

ELSEWHERE_SECONDS = 0.25
"""Of a photo's way outside the engine: read from the bucket, sent, decoded, answered. Assumed, as
the platform's share of it cannot be measured from here."""
IN_HAND = 2
"""Requests that an engine has at least: one is computed, one is up next."""


class Engine(Protocol):
    @property
    def batch_seconds(self) -> float | None: ...


def parameters(settings: Settings, engines: Iterable[Engine]) -> dict[str, int | str]:
    """As many requests of one photo each as keep the engines at work while others are on their way,
    and no more than are answered while one may wait: by the time that a mini-batch took when the
    engines warmed up. What is left of the 100 MB is for larger photos.

    The platform holds requests times payload to 100 MB. Raises BusyError before an engine is warm.
    """
    warm = [each.batch_seconds for each in engines if each.batch_seconds]
    if not warm:
        raise BusyError("no engine has measured itself yet")
    per_second = sum(settings.most_batch_images / each for each in warm)
    useful = math.ceil(per_second * ELSEWHERE_SECONDS) + IN_HAND * len(warm)
    patient = int(per_second * LONGEST_WAIT_SECONDS)
    room = MAX_BATCH_PAYLOAD_MIB // SMALLEST_PAYLOAD_MIB
    concurrent = max(1, min(settings.planned_http_threads, useful, patient, room))
    return {
        "MaxConcurrentTransforms": concurrent,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": MAX_BATCH_PAYLOAD_MIB // concurrent,
    }
