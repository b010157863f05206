"""The Accept header -> one of the types of answer."""

import re

from serve.refusal import AcceptError

JSON = "application/json"
VERBOSE = "application/json;verbose"
JSON_LINES = "application/jsonlines"
CSV = "text/csv"
NPY = "application/x-npy"
OFFERED = (JSON, VERBOSE, JSON_LINES, CSV, NPY)
AUTO = "auto"
PNG = "image/png"
"""Of explanations only."""


def default(setting: str, given: str) -> str:
    """The type where the request leaves it open, from the setting and the body's plain type."""
    if setting != AUTO:
        return setting
    return JSON_LINES if given == JSON_LINES else JSON


def choose(header: str, default: str, more: tuple[str, ...] = ()) -> str:
    """The offered type with the highest q, the first of equals; `default` where all are welcome.
    `more` is offered to this request, too.

    A header of unknown types only raises AcceptError: an answer in another form would be misread.
    """
    ranges = [_parse(part) for part in header.split(",") if part.strip()]
    if not ranges:
        return default
    refused = {name for name, quality in ranges if quality == 0}
    wanted = sorted((entry for entry in ranges if entry[1] > 0), key=lambda entry: -entry[1])
    for name, _ in wanted:
        for offered in (default, *OFFERED, *more):
            if _matches(name, offered) and offered not in refused:
                return offered
    raise AcceptError(
        f"Accept {header[:80]!r} names no type of answer that there is; offered: "
        f"{', '.join((*OFFERED, *more))}",
        offered=[*OFFERED, *more],
    )


def _parse(part: str) -> tuple[str, float]:
    """Type and q. `verbose` is a parameter without a value; other parameters change nothing."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        found = re.fullmatch(r"q\s*=\s*([01](?:\.\d{0,10})?|\.\d{1,10})", parameter)
        if found:
            quality = float(found[1])
    if name == JSON and any(re.fullmatch(r"verbose(=(1|true)?)?", each) for each in parameters):
        name = VERBOSE
    return name, quality


def _matches(wanted: str, offered: str) -> bool:
    if wanted in ("*/*", "*"):
        return True
    if wanted.endswith("/*"):
        return offered.startswith(wanted[:-1])
    return wanted == offered
