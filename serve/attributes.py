"""What a request asks for beside an answer: `?top_k=3`, or `top_k=3` among its custom attributes.

The query counts first. Custom attributes may hold anything else of the caller's.
"""

import re

from serve.refusal import PayloadError

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def top_k(query: str | None, custom_attributes: str, default: int) -> int:
    """How many labels. Raises PayloadError for a value that is no whole number from 1 up."""
    text = query if query is not None else _among("top_k", custom_attributes)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or int(text) < 1:
        raise PayloadError(f"top_k={text[:40]!r}: expected a whole number from 1 up")
    return int(text)


def timing(query: str | None, custom_attributes: str) -> bool:
    """Whether the answer shall say what its time went to: `timing=true`."""
    text = query if query is not None else _among("timing", custom_attributes)
    return text is not None and text.strip().lower() == "true"


def bare(query: str | None, custom_attributes: str) -> bool:
    """Whether JSON shall be the probabilities alone, in label order: `answer=probabilities`.
    Raises PayloadError for another form in the query; custom attributes may be the caller's own."""
    if query is None:
        return (_among("answer", custom_attributes) or "").lower() == "probabilities"
    if query.strip().lower() != "probabilities":
        raise PayloadError(f"answer={query[:40]!r}: expected probabilities")
    return True


def _among(name: str, custom_attributes: str) -> str | None:
    found = re.search(rf"(?:^|[\s,;&]){name}\s*=\s*([^\s,;&]*)", custom_attributes)
    return found[1] if found else None
