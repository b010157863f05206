"""What is saved, when, and as what: from `debughookconfig.json`, or from hyperparameters.

The keys are smdebug's own (core/json_config.py of awslabs/sagemaker-debugger), and so is what they
mean. Two traps of its reader are gone: `save_raw_tensor` and `save_shape` may be strings, which is
all that the platform's request can carry, and a collection with a ready pattern needs none.
`save_steps` wins over the interval, as documented; smdebug 1.0.34 saves by both.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from debugger.rules import collections_needed, regexes_needed
from debugger.rules.asked import Asked

MODES = ("TRAIN", "EVAL", "PREDICT", "GLOBAL")
INTERVAL = 500
"""Steps between two saves where nobody says otherwise: smdebug's."""
RULES_INTERVAL = 10
"""The same where rules are asked for and nothing else is."""
USUAL = ("weights", "biases", "gradients", "losses")
"""Saved where hyperparameters name no collection: smdebug's own."""
COLLECTIONS = (
    *USUAL, "all", "relu_output", "relu_input", "tanh_input", "sigmoid_input", "input_image",
    "labels", "predictions",
)  # fmt: skip
"""Those that need no pattern."""
STATISTICS = ("min", "max", "mean", "std", "variance", "sum", "prod")
NORMS = ("l1", "l2")
REDUCTIONS = tuple(f"{a}{name}" for a in ("", "abs_") for name in (*STATISTICS, *NORMS))


class SettingsError(ValueError):
    """A configuration that says nothing that can be done."""


class Reduction(NamedTuple):
    name: str
    absolute: bool

    @classmethod
    def of(cls, text: str) -> "Reduction":
        """`mean`, `abs_mean`, `l1` or smdebug's `l1_norm`."""
        word = text.strip().removesuffix("_norm")
        if word not in REDUCTIONS:
            raise SettingsError(f"reduction {text!r}: expected one of {', '.join(REDUCTIONS)}")
        return cls(word.removeprefix("abs_"), word.startswith("abs_"))


@dataclass(frozen=True)
class When:
    """The steps of one mode at which a collection is saved."""

    interval: int = INTERVAL
    steps: tuple[int, ...] = ()
    """Win over the interval."""
    start: int = 0
    end: int | None = None
    """The first step that is not saved any more."""

    def due(self, step: int, widening: int = 1) -> bool:
        """`widening` makes the interval so many times as long, or takes every so manieth of the
        listed steps."""
        if self.steps:
            return step in self.steps[::widening]
        inside = self.start <= step and (self.end is None or step < self.end)
        return inside and step % (self.interval * widening) == 0


@dataclass(frozen=True)
class Keep:
    """What is written of a tensor."""

    raw: bool = True
    shape: bool = False
    reductions: tuple[Reduction, ...] = ()


@dataclass(frozen=True)
class Collection:
    name: str
    patterns: tuple[str, ...] = ()
    """Regular expressions, searched for anywhere in a tensor's name; none means the ready ones."""
    when: Mapping[str, When] = field(default_factory=lambda: dict.fromkeys(MODES, When()))
    """By MODES."""
    keep: Keep = Keep()
    histogram: bool = True
    """For TensorBoard, where it is exported to."""


@dataclass(frozen=True)
class Settings:
    collections: tuple[Collection, ...]
    tensors: Path
    source: str
    """Where they come from, for the log."""
    workers: str = "one"
    """`one`: the leader writes; `all`: every process."""
    tensorboard: Path | None = None


def asked(
    tensors: Path,
    tensorboard: Path,
    *,
    interval: int,
    eval_interval: int,
    collections: list[str],
    reductions: list[str],
    patterns: list[str],
    histograms: bool,
    rules: Sequence[Asked] = (),
) -> Settings | None:
    """From hyperparameters, with what `rules` need; None where nobody asks for anything."""
    wished = bool(interval or collections or reductions or patterns)
    if not wished and not rules:
        return None
    usual = INTERVAL if wished else RULES_INTERVAL
    when = {mode: When(interval or usual) for mode in MODES} | {"EVAL": When(eval_interval)}
    keep = Keep(raw=not reductions, reductions=tuple(map(Reduction.of, reductions)))
    ready = [] if patterns or not wished else USUAL
    names = list(dict.fromkeys([*(collections or ready), *collections_needed(rules)]))
    patterns = [*patterns, *regexes_needed(rules)]
    made = [Collection(name, (), when, keep, histograms) for name in names]
    if patterns:
        made.append(Collection("default", tuple(map(_pattern, patterns)), when, keep, histograms))
    source = f"hyperparameters, every {interval or usual} updates"
    return Settings(_with_losses(made, when), tensors, source, tensorboard=tensorboard)


def read(
    path: Path,
    tensors: Path,
    tensorboard: Path,
    *,
    exports: bool = False,
    rules: Sequence[Asked] = (),
) -> Settings:
    """From the platform's JSON, with what `rules` need beside it: the platform's SDK writes a file
    that names no collection for jobs that ask for nothing. `tensors` is where a file without a
    LocalPath writes to; `exports`: the platform collects scalars and histograms from `tensorboard`.
    Raises SettingsError."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"cannot be read: {error}") from error
    given = _object(given, "the file")
    general = _object(given.get("HookParameters"), "HookParameters")
    base = _steps(general, {})
    keep = _keep(general, Keep())
    made = []
    for item in _list(given.get("CollectionConfigurations"), "CollectionConfigurations"):
        made.append(_collection(_object(item, "CollectionConfigurations"), base, keep))
    when = _when(base)
    if patterns := _words(general.get("include_regex")):
        made.append(Collection("default", tuple(map(_pattern, patterns)), when, keep))
    if _boolean(general.get("save_all"), False, "save_all"):
        made.append(Collection("all", (), when, keep))
    made += _ruled({each.name for each in made}, rules, base)
    workers = str(general.get("include_workers") or "one").lower()
    if workers not in ("one", "all"):
        raise SettingsError(f"include_workers={workers!r}: expected one or all")
    named = _text(general.get("tensorboard_dir"), "tensorboard_dir")
    exports = exports or _boolean(general.get("export_tensorboard"), False, "export_tensorboard")
    return Settings(
        _with_losses(_merged(made), when),
        Path(_text(given.get("LocalPath"), "LocalPath") or tensors),
        path.name,
        workers,
        Path(named) if named else tensorboard if exports else None,
    )


def _ruled(
    there: set[str], rules: Sequence[Asked], base: dict[str, dict[str, Any]]
) -> list[Collection]:
    """What rules need and the file does not name, as often as it says for all; where it says
    nothing, as often as without a file."""
    usual = {mode: When(RULES_INTERVAL) for mode in MODES} | {"EVAL": When(1)}
    told = _when(base)
    when = {mode: told[mode] if base.get(mode) else usual[mode] for mode in MODES}
    names = [each for each in collections_needed(rules) if each not in there]
    patterns = tuple(map(_pattern, regexes_needed(rules)))
    made = [Collection(name, (), when, Keep(), histogram=False) for name in names]
    if patterns:
        made.append(Collection("rules", patterns, when, Keep(), histogram=False))
    return made


def _with_losses(made: list[Collection], when: Mapping[str, When]) -> tuple[Collection, ...]:
    """Losses are always saved, and whole: smdebug's."""
    found = [
        Collection(each.name, each.patterns, each.when, Keep(), each.histogram)
        if each.name == "losses"
        else each
        for each in made
    ]
    if all(each.name != "losses" for each in found):
        found.append(Collection("losses", (), when))
    return tuple(found)


def _merged(made: list[Collection]) -> list[Collection]:
    """Of two with one name the later one counts, with the patterns of both."""
    found: dict[str, Collection] = {}
    for each in made:
        before = found.get(each.name)
        patterns = (*(before.patterns if before else ()), *each.patterns)
        found[each.name] = Collection(each.name, patterns, each.when, each.keep, each.histogram)
    return list(found.values())


def _collection(item: dict[str, Any], base: dict[str, dict[str, Any]], keep: Keep) -> Collection:
    name = item.get("CollectionName")
    if not isinstance(name, str) or not name:
        raise SettingsError("a collection has no CollectionName")
    given = _object(item.get("CollectionParameters"), name)
    return Collection(
        name,
        tuple(map(_pattern, _words(given.get("include_regex")))),
        _when(_steps(given, base)),
        _keep(given, keep),
        _boolean(given.get("save_histogram"), True, f"{name}: save_histogram"),
    )


def _steps(given: dict[str, Any], base: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By mode: what `base` says, then the plain keys, then those with the mode's prefix."""

    def picked(prefix: str) -> dict[str, Any]:
        names = ("save_interval", "save_steps", "start_step", "end_step")
        return {
            name: given[prefix + name] for name in names if given.get(prefix + name) is not None
        }

    return {
        mode: {**base.get(mode, {}), **picked(""), **picked(f"{mode.lower()}.")} for mode in MODES
    }


def _when(given: dict[str, dict[str, Any]]) -> dict[str, When]:
    return {
        mode: When(
            _integer(keys.get("save_interval", INTERVAL), "save_interval", 1),
            tuple(
                sorted({_integer(each, "save_steps") for each in _words(keys.get("save_steps"))})
            ),
            _integer(keys.get("start_step", 0), "start_step"),
            None if keys.get("end_step") is None else _integer(keys["end_step"], "end_step"),
        )
        for mode, keys in given.items()
    }


def _keep(given: dict[str, Any], otherwise: Keep) -> Keep:
    """Whole tensors, unless reductions are asked for: then both only by `save_raw_tensor`."""
    names = ("reductions", "save_raw_tensor", "save_shape")
    if all(given.get(name) is None for name in names):
        return otherwise
    reductions = tuple(map(Reduction.of, _words(given.get("reductions"))))
    return Keep(
        _boolean(given.get("save_raw_tensor"), not reductions, "save_raw_tensor"),
        _boolean(given.get("save_shape"), False, "save_shape"),
        reductions,
    )


def _words(value: Any) -> list[Any]:
    """A list, or a text with commas between."""
    if value is None:
        return []
    parts = value if isinstance(value, list) else str(value).split(",")
    return [each.strip() if isinstance(each, str) else each for each in parts if each != ""]


def _pattern(text: Any) -> str:
    try:
        re.compile(text)
    except (re.error, TypeError) as error:
        raise SettingsError(f"include_regex {text!r}: {error}") from error
    return str(text)


def _integer(value: Any, name: str, low: int = 0) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = low - 1
    if isinstance(value, bool) or number < low:
        raise SettingsError(f"{name}={value!r}: expected a whole number from {low}")
    return number


def _boolean(value: Any, otherwise: bool, name: str) -> bool:
    if value is None:
        return otherwise
    word = str(value).strip().lower()
    if word not in ("true", "false", "1", "0"):
        raise SettingsError(f"{name}={value!r}: expected true or false")
    return word in ("true", "1")


def _text(value: Any, name: str) -> str:
    """A folder's name; a `~` before it is somebody's home."""
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value:
        raise SettingsError(f"{name}={value!r}: expected the name of a folder")
    return os.path.expanduser(value)


def _object(value: Any, name: str) -> dict[str, Any]:
    """Whole blocks may be null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(f"{name}: expected an object, not {type(value).__name__}")
    return value


def _list(value: Any, name: str) -> Iterable[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise SettingsError(f"{name}: expected a list, not {type(value).__name__}")
    return value
