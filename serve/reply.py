"""An answer before any framework has it: status, header fields, body; and what an error becomes.

Every body is JSON, unless predictions are accepted as another type; every 5xx carries an `id` under
which the log has the reason.
"""

import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from serve import trace
from serve.attributes import CUSTOM_ATTRIBUTES
from serve.echo import MAX_CHARACTERS, echoed
from serve.flood import Flood
from serve.refusal import BusyError, Refusal

JSON = "application/json"

logger = logging.getLogger("serve")
flood = Flood(logger)


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


def of(error: BaseException) -> Reply:
    """What the caller is told; the log has the rest."""
    if isinstance(error, Refusal):
        return _refused(error)
    if isinstance(error, MemoryError):
        logger.error("out of memory while reading a request")
        return _refused(BusyError("the server has no memory left for this request"))
    trace.refused(error)
    identity = uuid.uuid4().hex
    logger.error("500 id=%s: %s", identity, error, exc_info=error)
    body = {"error": "internal error; the log has it under this id", "id": identity}
    return Reply(500, dump(body))


def _refused(refusal: Refusal) -> Reply:
    trace.refused(refusal)
    body = refusal.as_dict()
    if refusal.status < 500:
        return Reply(refusal.status, dump(body))
    body["id"] = uuid.uuid4().hex
    said = f"{refusal.status} id={body['id']}: {refusal.message}"
    if not isinstance(refusal, BusyError):
        logger.warning("%s", said)
        return Reply(refusal.status, dump(body))
    flood.say(refusal.message, said)
    retry = {"Retry-After": str(refusal.retry_seconds)}
    return Reply(refusal.status, dump(body), headers=retry)


def dump(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode("ascii") + b"\n"


def closing(
    status: int,
    finish: Callable[[int], tuple[trace.Trace, float] | None],
    header: Callable[[str], str],
) -> dict[str, str]:
    """The header fields that every answer carries, from those of the request: custom attributes
    reach the client only if the answer has them, too. `finish` counts the thread's request, and
    gives its trace and seconds, if it has one."""
    fields = echoed(header)
    done = finish(status)
    if done is None or not done[0].timed:
        return fields
    said = trace.server_timing(*done)
    fields["Server-Timing"] = said
    if CUSTOM_ATTRIBUTES in fields:  # the only header that an endpoint passes on
        timed = f"{fields[CUSTOM_ATTRIBUTES]}; server-timing=({said})"
        fields[CUSTOM_ATTRIBUTES] = timed[:MAX_CHARACTERS]
    return fields
