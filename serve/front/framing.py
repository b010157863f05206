"""Where a request's head and body end: gunicorn's own strict parser for heads, bodies of our own.

Whatever two servers might read differently is refused and the connection closed: a request hidden
behind another one has no place to begin.
"""

import re
from typing import Any

from gunicorn.http import errors
from gunicorn.http.body import CHUNK_EXT_RE, ChunkedReader, LengthReader
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from serve.front.body import Body
from serve.refusal import PayloadError, Refusal

END = b"\r\n\r\n"
HEAD_BYTES = 32 << 10
"""Of the request line and all header fields; gunicorn limits each of them further."""

LINE_BYTES = 4 << 10
"""Of a chunk's size with its extensions, or of one trailer."""
FRAMING_BYTES = 64 << 10
"""What chunks may cost beyond as many bytes as they carry: a chunk of one byte costs five."""

CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")

SIZE, DATA, DATA_END, TRAILERS = range(4)

STATUS: tuple[tuple[type[Exception], int], ...] = (
    (errors.LimitRequestLine, 414),
    (errors.LimitRequestHeaders, 431),
    (errors.ExpectationFailed, 417),
    (errors.UnsupportedTransferCoding, 501),
)
"""Of gunicorn's errors; the others are 400."""


class FramingError(Refusal):
    """The bytes are no request that every server would read alike; the connection is closed."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def head_end(data: bytearray) -> int:
    """Where the head ends, or -1 where more must come. Raises FramingError where it never will."""
    found = data.find(END)
    end = found + len(END) if found >= 0 else len(data)
    if end > HEAD_BYTES:
        raise FramingError(f"the head is longer than {HEAD_BYTES:,} bytes", 431)
    if data.count(b"\n", 0, end) != data.count(b"\r\n", 0, end):
        raise FramingError("a line of the head ends without a carriage return")
    return end if found >= 0 else -1


def parse(head: bytes, peer: Any, config: Any) -> Any:
    """gunicorn's request. Raises FramingError."""
    try:
        request = Request(config, IterUnreader([head]), peer)
    except errors.ParseException as error:
        status = next((code for kind, code in STATUS if isinstance(error, kind)), 400)
        raise FramingError(f"the head cannot be read: {error}", status) from None
    except (OSError, StopIteration, ValueError) as error:
        raise FramingError(f"the head cannot be read: {error}") from None
    codings = [value for name, value in request.headers if name == "TRANSFER-ENCODING"]
    if codings and [coding.lower() for coding in codings] != ["chunked"]:
        raise FramingError("of transfer codings only chunked is taken", 501)
    return request


def body_of(request: Any, limit: int) -> Body:
    """The body that follows this head, empty yet. Raises TooLargeError where its length says so."""
    reader = request.body.reader
    if isinstance(reader, ChunkedReader):
        return ChunkedBody(limit, request)
    # without a length there is no body: only an answer may last until the connection ends
    return Body(limit, reader.length if isinstance(reader, LengthReader) else 0)


class ChunkedBody(Body):
    """A body in chunks. Its length is known when it is whole."""

    def __init__(self, limit: int, request: Any) -> None:
        super().__init__(limit, 0)
        self.declared = None
        self.whole = False
        self._request = request
        self._state = SIZE
        self._line = bytearray()
        self._framing = 0
        self._left = 0

    def feed(self, data: memoryview) -> int:
        at = 0
        while at < len(data) and not self.whole:
            if self._state == DATA:
                at += self._data(data[at : at + self._left])
            else:
                at += self._more_of_a_line(data[at : at + LINE_BYTES])
        return at

    def _data(self, piece: memoryview) -> int:
        self.buffer.write(piece)
        self.received += len(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = DATA_END
        return len(piece)

    def _more_of_a_line(self, piece: memoryview) -> int:
        text = bytes(piece)
        end = text.find(b"\n")
        taken = text if end < 0 else text[: end + 1]
        self._line += taken
        self._framing += len(taken)
        self._check_line()
        if end >= 0:
            line = bytes(self._line[:-2])
            self._line.clear()
            self._take(line)
        return len(taken)

    def _check_line(self) -> None:
        line, ended = self._line, self._line.endswith(b"\n")
        if len(line) > LINE_BYTES:
            raise PayloadError(f"a line between the chunks is longer than {LINE_BYTES:,} bytes")
        if self._framing > FRAMING_BYTES + self.received:
            raise PayloadError("the body was sent in bad chunks: they are too small")
        if ended and (not line.endswith(b"\r\n") or line.count(b"\r") > 1):
            raise PayloadError("the body was sent in bad chunks: a line has no proper end")
        if self._state == DATA_END and not b"\r\n".startswith(bytes(line)):
            raise PayloadError("the body was sent in bad chunks: one is longer than its size")

    def _take(self, line: bytes) -> None:
        if self._state == DATA_END:
            self._state = SIZE
        elif self._state == SIZE:
            self._take_size(line)
        elif line:
            self._check_trailer(line)
        else:
            self.finish()

    def _take_size(self, line: bytes) -> None:
        text, semicolon, extension = line.partition(b";")
        if semicolon:
            text = text.rstrip(b" \t")
            if not CHUNK_EXT_RE.fullmatch(semicolon + extension):
                raise PayloadError("the body was sent in bad chunks: a bad extension of a size")
        if not CHUNK_SIZE.fullmatch(text):
            raise PayloadError(f"the body was sent in bad chunks: {text[:20]!r} is no size")
        self._left = int(text, 16)
        if self.received + self._left > self.limit:
            raise self.too_large()
        self._state = DATA if self._left else TRAILERS

    def _check_trailer(self, line: bytes) -> None:
        """Trailers are read and forgotten: nothing that they could say is asked for."""
        try:
            self._request.parse_headers(line, from_trailer=True)
        except errors.ParseException as error:
            raise PayloadError(f"the body was sent in bad chunks: {error}") from None
