"""How many labels a request asks for: `?top_k=3`, or `top_k=3` among its custom attributes."""

import re

from serve.refusal import PayloadError

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def top_k(query: str | None, custom_attributes: str, default: int) -> int:
    """The query counts first. Custom attributes may hold anything else of the caller's.

    Raises PayloadError for a value that is no whole number from 1 up.
    """
    text = query
    if text is None:
        found = re.search(r"(?:^|[\s,;&])top_k\s*=\s*([^\s,;&]*)", custom_attributes)
        text = found[1] if found else None
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or int(text) < 1:
        raise PayloadError(f"top_k={text[:40]!r}: expected a whole number from 1 up")
    return int(text)
