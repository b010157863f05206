"""Parameters of rules: declared once, read from what a request carries, which are strings."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

NOTHING = ("", "none", "null")
"""Words that mean that there is no value."""


@dataclass(frozen=True)
class Parameter:
    default: Any
    kind: Callable[[Any], Any]
    """Makes the value of what was given; raises ValueError that says what was expected."""
    meaning: str
    ours: bool = False
    """Not one of the documented parameters of the platform's rule."""


def number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError("a number")
    try:
        made = float(value)
    except (TypeError, ValueError):
        raise ValueError("a number") from None
    if math.isnan(made):  # nothing is above or below it: the rule would be silent for ever
        raise ValueError("a number")
    return made


def whole(value: Any) -> int:
    made = number(value)
    if made != made // 1:
        raise ValueError("a whole number")
    return int(made)


def flag(value: Any) -> bool:
    """`"False"` is what Python's `str` makes of it on its way through a request."""
    word = str(value).strip().lower()
    if word not in ("true", "false", "1", "0", "yes", "no"):
        raise ValueError("true or false")
    return word in ("true", "1", "yes")


def text(value: Any) -> str:
    return str(value).strip()


def pattern(value: Any) -> str:
    """A regular expression, searched for anywhere in a tensor's name."""
    made = text(value)
    try:
        re.compile(made)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    return made


def names(value: Any) -> list[str]:
    """A list, or words with commas between them."""
    if isinstance(value, str):
        value = value.strip().removeprefix("[").removesuffix("]").split(",")
    if not isinstance(value, list | tuple):
        raise ValueError("a list, or words with commas between them")
    made = [str(each).strip().strip("'\"") for each in value]
    return [each for each in made if each]


def perhaps(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The kind, or None for the words that mean it."""

    def made(value: Any) -> Any:
        if value is None or str(value).strip().lower() in NOTHING:
            return None
        return kind(value)

    return made


def one_of(*words: str) -> Callable[[Any], str]:
    def made(value: Any) -> str:
        word = str(value).strip().lower()
        if word not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return word

    return made


def read(declared: Mapping[str, Parameter], given: Mapping[str, Any]) -> SimpleNamespace:
    """Name -> value for everything declared. Raises ValueError with every mistake at once."""
    mistakes = [
        f"{name}: no such parameter; there are {', '.join(declared) or 'none'}"
        for name in given
        if name not in declared
    ]
    values = {}
    for name, parameter in declared.items():
        try:
            values[name] = parameter.kind(given.get(name, parameter.default))
        except ValueError as error:
            mistakes.append(f"{name}={given[name]!r}: expected {error}")
    if mistakes:
        raise ValueError("; ".join(mistakes))
    return SimpleNamespace(**values)


def written(declared: Mapping[str, Parameter], chosen: SimpleNamespace) -> dict[str, str]:
    """As text, the way a verdict and the platform's reports have them."""
    made = {name: getattr(chosen, name) for name in declared}
    return {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in made.items()
    }
