"""TOML tables into dataclasses: every mistake at once, each with where it stands and what fits."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable
from typing import Any, TypeVar, get_args, get_origin

T = TypeVar("T")

NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class ConfigError(ValueError):
    """All mistakes of a file, a line each."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("\n".join(self.mistakes))


def read(kind: type[T], table: Any, where: str, mistakes: list[str]) -> T:
    """The dataclass `kind` with the table's values; defaults where one is missing or wrong.
    Appends to `mistakes`."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = table if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        mistakes.append(f"{where or 'the file'}: expected a table")
    for name in sorted(given.keys() - fields.keys()):
        near = difflib.get_close_matches(name, fields, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(fields)}"
        mistakes.append(f"{_join(where, name)}: unknown; {hint}")
    values = {}
    for name, field in fields.items():
        if name in given:
            values[name] = _value(hints[name], given[name], _join(where, name), mistakes)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            mistakes.append(f"{_join(where, name)}: missing; expected {_expected(hints[name])}")
            values[name] = None
    for name in [name for name, value in values.items() if value is None]:
        if fields[name].default is not dataclasses.MISSING:
            del values[name]
    return kind(**values)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _expected(hint: Any) -> str:
    if get_origin(hint) is dict:
        return f"a table of {NAMES.get(get_args(hint)[1], 'values')}s"
    if get_origin(hint) is list:
        return f"a list, each {NAMES[get_args(hint)[0]]}"
    if get_origin(hint) is typing.Literal:
        return f"one of {', '.join(get_args(hint))}"
    if isinstance(hint, types.UnionType):
        return _expected(get_args(hint)[0])
    return NAMES.get(hint, "a table")


def _value(hint: Any, value: Any, where: str, mistakes: list[str]) -> Any:
    """The value as `hint` wants it; None, with a mistake told, where it does not fit."""
    if isinstance(hint, types.UnionType):  # `X | None`: a table may be left out
        hint = get_args(hint)[0]
    if dataclasses.is_dataclass(hint):
        return read(typing.cast(type[Any], hint), value, where, mistakes)
    origin = get_origin(hint)
    if origin is dict and isinstance(value, dict):
        inner = get_args(hint)[1]
        return {
            str(name): _value(inner, one, _join(where, str(name)), mistakes)
            for name, one in value.items()
        }
    if origin is list and isinstance(value, list):
        inner = get_args(hint)[0]
        return [_value(inner, one, f"{where}[{at}]", mistakes) for at, one in enumerate(value)]
    if origin is typing.Literal and value in get_args(hint):
        return value
    if hint is Any:
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (str, int, bool) and type(value) is hint:
        return value
    mistakes.append(f"{where}: {value!r:.80}; expected {_expected(hint)}")
    return None
