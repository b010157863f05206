"""`multipart/form-data` -> its parts, in memory: each a photo or an `.npy`, whatever its name."""

from collections.abc import Callable
from dataclasses import dataclass

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from serve.refusal import PayloadError

MAX_BOUNDARY_BYTES = 200
ASK = "send it with curl -F image=@photo.jpg"


@dataclass
class Part:
    content_type: str
    data: bytes = b""


def parts(body: bytes, content_type: str, check_count: Callable[[int], None]) -> list[Part]:
    """`check_count` refuses too many parts before any is read. Raises PayloadError."""
    boundary = _boundary(content_type)
    count = max(0, body.count(b"--" + boundary) - 1)
    check_count(count)
    decoder = MultipartDecoder(boundary, max_form_memory_size=len(body), max_parts=count)
    found: list[Part] = []
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, NeedData):
                raise PayloadError(f"the multipart body is cut short; {ASK}")
            if isinstance(event, Field | File):
                found.append(Part(event.headers.get("Content-Type", "")))
            elif isinstance(event, Data):
                found[-1].data += event.data
    except (ValueError, RequestEntityTooLarge) as error:
        raise PayloadError(f"the multipart body is damaged: {error}; {ASK}") from None
    return found


def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary or len(boundary) > MAX_BOUNDARY_BYTES or not boundary.isascii():
        raise PayloadError(f"multipart/form-data without a usable boundary; {ASK}")
    return boundary.encode("ascii")
