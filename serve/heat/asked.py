"""What a request asks to be explained: `explain=heatmap`, and maybe `explain_label=NAME`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from serve import accept
from serve.refusal import AcceptError, PayloadError

EXPLAIN, LABEL = "explain", "explain_label"
HEATMAP = "heatmap"
TOP_LABEL = -1
"""Each photo's own most probable label."""

ROOMY = (accept.JSON, accept.VERBOSE, accept.JSON_LINES, accept.PNG)
"""Types of answer that have room for a heat map."""


@dataclass(frozen=True)
class Asked:
    """`label` is an index, or TOP_LABEL."""

    label: int = TOP_LABEL


def wants_heat(query: Mapping[str, str], custom_attributes: str) -> bool:
    """Raises PayloadError for an explanation that there is not."""
    wanted = _value(EXPLAIN, query, custom_attributes)
    if wanted is None or wanted == HEATMAP:
        return wanted is not None
    raise PayloadError(f"{EXPLAIN}={wanted[:40]!r}: expected {HEATMAP}")


def read(
    query: Mapping[str, str], custom_attributes: str, labels: list[str], wanted: str
) -> Asked | None:
    """None where nothing is to be explained; `wanted` is the type of the answer. The query counts
    first. A label's name with spaces or commas stands in double quotes among custom attributes.

    Raises PayloadError for a label that there is not, AcceptError where the answer has no room.
    """
    if not wants_heat(query, custom_attributes):
        return None
    if wanted not in ROOMY:
        raise AcceptError(
            f"{EXPLAIN}={HEATMAP} has no place in {wanted}; offered: {', '.join(ROOMY)}",
            offered=list(ROOMY),
        )
    name = _value(LABEL, query, custom_attributes)
    if name is None:
        return Asked()
    if name in labels:
        return Asked(labels.index(name))
    shown = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
    raise PayloadError(f"{LABEL}={name[:80]!r}: there is no such label; there are {shown}")


def _value(name: str, query: Mapping[str, str], custom_attributes: str) -> str | None:
    if name in query:
        return query[name].strip()
    found = re.search(rf'(?:^|[\s,;&]){name}\s*=\s*(?:"([^"]*)"|([^\s,;&]*))', custom_attributes)
    return None if found is None else (found[1] if found[1] is not None else found[2])
