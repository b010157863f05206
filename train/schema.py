"""One declared value: its type, default, range and meaning on one line; and how text becomes it.

The platform delivers strings, but clients differ: raw (`adam`), JSON (`"adam"`), or encoded twice.
All of these mean the same here, and no shell or command line ever sees a value.
"""

import contextlib
import dataclasses
import difflib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import field
from typing import Any, TypeVar, cast

T = TypeVar("T")

AUTO = -1
"""What the word `auto` is read as, where it is allowed for a number: none of these has a -1."""

TRUE = {"true", "1", "yes"}
FALSE = {"false", "0", "no"}


def declare(
    default: T,
    meaning: str,
    why: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    aliases: tuple[str, ...] = (),
    auto: bool = False,
    patterns: bool = False,
    forms: str = "",
) -> T:
    """`low` and `high` belong to the range, `above` does not; `why` justifies the default. `auto`:
    the word is legal, too, and is read as AUTO. `patterns`: a list of regular expressions. Of a
    list, `choices` are those of each item. `forms` describes text that no list of choices does."""
    metadata = dict(
        meaning=meaning, why=why, low=low, above=above, high=high, choices=choices, aliases=aliases,
        auto=auto, patterns=patterns, forms=forms,
    )  # fmt: skip
    # typed Any like dataclasses' own `field`, which stands for a value of the default's type
    made: Any = (
        field(default_factory=lambda: list(default), metadata=metadata)
        if isinstance(default, list)
        else field(default=default, metadata=metadata)
    )
    return cast(T, made)


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean ...?` where something known is near, else nothing. `cutoff` is a similarity
    from 0 to 1."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]}?" if near else ""


def unwrap(value: Any) -> Any:
    """Takes JSON string quotes off, as many layers as there are."""
    while isinstance(value, str):
        text = value.strip()
        if len(text) < 2 or text[0] != '"' or text[-1] != '"':
            return text
        try:
            value = json.loads(text)
        except ValueError:
            return text
    return value


def convert(raw: Any, item: "dataclasses.Field[Any]") -> Any:
    """The typed value, or a ValueError that says what was expected."""
    value = unwrap(raw)
    limits = item.metadata
    if limits.get("auto") and str(value).lower() == "auto":
        return item.type(AUTO)  # type: ignore[operator]
    if item.type is bool:
        word = str(value).lower()
        if word not in TRUE | FALSE:
            raise ValueError("true or false")
        return word in TRUE
    if item.type is int:
        return _integer(value, limits)
    if item.type is float:
        return _number(value, limits)
    if item.type == list[int]:
        return _integers(value, limits)
    if item.type == list[str]:
        return _words(value, limits)
    if limits.get("forms"):
        return value if isinstance(value, str) else json.dumps(value)
    choices = limits["choices"]
    if not isinstance(value, str) or not value:
        raise ValueError(f"one of {', '.join(choices)}" if choices else "a name")
    word = value.lower()
    if choices and word not in choices:
        raise ValueError(f"one of {', '.join(choices)}{nearest(word, choices)}")
    return word


def expected_range(kind: str, limits: Any) -> str:
    low, above, high = limits["low"], limits["above"], limits["high"]
    lower = f" above {above}" if above is not None else f" from {low}"
    word = ", or auto" if limits.get("auto") else ""
    return f"{kind}{lower} to {high}{word}"


def _number(value: Any, limits: Any) -> float:
    expected = expected_range("a number", limits)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(expected)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    low, above, high = limits["low"], limits["above"], limits["high"]
    too_low = number <= above if above is not None else number < low
    if not math.isfinite(number) or too_low or number > high:
        raise ValueError(expected)
    return number


def _integer(value: Any, limits: Any) -> int:
    expected = expected_range("a whole number", limits)
    try:
        number = _number(value, limits)
    except ValueError:
        raise ValueError(expected) from None
    if number != int(number):  # "10.0" is 10: tuners write it so
        raise ValueError(expected)
    return int(number)


def _integers(value: Any, limits: Any) -> list[int]:
    """`[512, 256]`, `"512, 256"` or `512`."""
    expected = f"a list of whole numbers from {limits['low']} to {limits['high']}, like [512, 256]"
    try:
        return [_integer(unwrap(one), limits) for one in _listed(value)]
    except ValueError:
        raise ValueError(expected) from None


def _words(value: Any, limits: Any) -> list[str]:
    """`["mean", "std"]`, `"mean, std"` or `mean`. A regular expression with a comma in it needs the
    JSON list, and keeps its upper case."""
    choices, patterns = limits["choices"], limits.get("patterns")
    kind = "regular expressions" if patterns else "names"
    expected = f"a list of {kind}" + (f" out of {', '.join(choices)}" if choices else "")
    words = [unwrap(each) for each in _listed(value, r"\s*,\s*" if patterns else r"[,\s]+")]
    if not all(isinstance(each, str) and each for each in words):
        raise ValueError(expected)
    if patterns:
        for each in words:
            try:
                re.compile(each)
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"{expected}; {each!r:.80}: {error}") from None
        return words
    words = [each.lower() for each in words]
    wrong = next((each for each in words if choices and each not in choices), None)
    if wrong is not None:
        raise ValueError(f"{expected}{nearest(wrong, choices)}")
    return words


def _listed(value: Any, between: str = r"[,\s]+") -> list[Any]:
    """A JSON list, or a text with something between its parts, or one value."""
    if isinstance(value, str) and value.startswith("["):
        with contextlib.suppress(ValueError, RecursionError):  # a pattern may begin so, too
            value = json.loads(value)
    if isinstance(value, str):
        value = [part for part in re.split(between, value) if part]
    return value if isinstance(value, list) else [value]
