"""JSON and base64 of a client's, read without trust: what they would become is counted first."""

import base64
import binascii
import json
from typing import Any, NoReturn

from serve.refusal import PayloadError, TooLargeError

MAX_CONTAINERS = 1_000_000
"""Brackets and braces that open: each takes 64 bytes, and three of the body. An image of 1,024 rows
has 3,075, and 64 of them are the most in one request unless a setting says otherwise."""

MAX_QUOTES = 1_000_000
MAX_COMMAS = 10_000_000
"""Numbers take 32 bytes each: 64 images of 3 x 224 x 224 have 9.6 million."""

_TO_PLAIN = bytes.maketrans(b"-_", b"+/")
_SPACES = b" \t\n\r\x0b\x0c"


def parse(body: bytes, ask: str) -> Any:
    """Raises PayloadError for all that is not JSON of a sane depth and of finite numbers, and
    TooLargeError where it would take far more memory than its bytes. `ask` says what would work."""
    for what, count, most in (
        ("lists and objects", body.count(b"[") + body.count(b"{"), MAX_CONTAINERS),
        ("quotes", body.count(b'"'), MAX_QUOTES),
        ("values", body.count(b","), MAX_COMMAS),
    ):
        if count > most:
            raise TooLargeError(
                f"JSON of {count:,} {what}; the limit is {most:,}", limit=most, received=count
            )

    def refuse(constant: str) -> NoReturn:
        raise PayloadError(f"{constant} is not a number that can be classified")

    try:
        return json.loads(body, parse_constant=refuse)
    except RecursionError:
        raise PayloadError("the JSON is nested too deeply") from None
    except ValueError as error:  # bad syntax, bad UTF-8, integers of thousands of digits
        raise PayloadError(f"the body is not JSON: {str(error)[:200]}; {ask}") from None


def photo(text: str) -> bytes:
    """Of base64, plain or URL-safe, with line breaks or not, or of a data URI. Raises PayloadError.

    One copy at a time: a hundred megabytes of text would be six hundred in the obvious way.
    """
    start = 0
    if text.startswith("data:"):
        start = text.find(",") + 1
        if not text[:start].endswith(";base64,"):
            raise PayloadError("a data URI must be data:TYPE;base64,DATA")
    try:
        plain = text[start:].encode("ascii").translate(_TO_PLAIN, _SPACES)
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PayloadError(f"the image is not base64: {error}") from None
