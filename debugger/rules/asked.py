"""Which rules a request asks for: names, parameters and actions, from one string.

    all                                                all rules
    vanishing_gradient, loss_not_decreasing:num_steps=20:action=stop
    ["vanishing_gradient", {"name": "loss_not_decreasing", "num_steps": 20, "action": "stop"}]
    mine.rules:MyRule   or   /opt/ml/code/rules.py:MyRule       a class of the user's own

The second form is short because the platform cuts a hyperparameter at 256 characters; values with
commas or colons need the third. The platform's own names (`VanishingGradient`) do as well.
"""

import importlib
import importlib.util
import inspect
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ACTIONS = ("warn", "stop", "stop_and_keep_best")

MODULES = (
    "vanishing_gradient", "exploding_tensor", "nan_or_inf", "dead_relu", "saturated_activation",
    "poor_weight_initialization", "weight_update_ratio", "all_zero", "unchanged_tensor",
    "tensor_variance", "loss_not_decreasing", "learning_rate_too_high", "head_not_learning",
    "overfit", "overtraining", "class_imbalance", "confusion", "check_input_images",
    "input_not_normalised", "label_leakage", "similar_across_runs", "stalled_training_rule",
)  # fmt: skip
"""A rule a module, in the order in which tables have them."""

OTHER_NAMES = {
    "stalled_training": "stalled_training_rule",
    "poor_weight_initialisation": "poor_weight_initialization",
    "input_not_normalized": "input_not_normalised",
    "nan": "nan_or_inf",
}


class RuleRequestError(ValueError):
    """What is wrong with a request, and what would work."""


@dataclass(frozen=True)
class Asked:
    name: str
    """One of MODULES, or `module:Class` or `file:Class`."""
    parameters: dict[str, Any] = field(default_factory=dict)
    action: str = "warn"
    named: bool = field(default=True, compare=False)
    """Not only among `all`."""

    @property
    def own(self) -> bool:
        """A class of the user's."""
        return ":" in self.name

    @property
    def short(self) -> str:
        return self.name.rpartition(":")[2]

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "parameters": self.parameters, "action": self.action}


def parse(text: Any, action: str = "warn") -> list[Asked]:
    """Raises RuleRequestError with every mistake at once. Empty text asks for none."""
    items = _items(text)
    made, mistakes = [], []
    for item in items:
        try:
            made += _one(item, action)
        except (RuleRequestError, ValueError) as error:
            mistakes.append(str(error))
    if mistakes:
        raise RuleRequestError("; ".join(mistakes))
    seen: dict[str, Asked] = {}
    for each in made:  # `all` and then one of them with parameters: the later counts
        seen[each.name] = each
    return list(seen.values())


def _items(text: Any) -> list[Any]:
    if isinstance(text, list):
        return text
    words = str(text or "").strip()
    if words.startswith(("[", "{", '"')):
        try:
            value = json.loads(words)
        except (ValueError, RecursionError) as error:
            raise RuleRequestError(f"not JSON: {error}") from None
        if isinstance(value, str):
            return _items(value)
        return value if isinstance(value, list) else [value]
    return [each.strip() for each in words.split(",") if each.strip()]


def _one(item: Any, action: str) -> list[Asked]:
    if isinstance(item, dict):
        given = {str(key): value for key, value in item.items()}
        name = given.pop("name", None)
        if not isinstance(name, str) or not name.strip():
            raise RuleRequestError(f"{json.dumps(item)[:100]}: no `name` of a rule")
        name = name.strip()
    elif isinstance(item, str):
        name, given = _compact(item.strip())
    else:
        raise RuleRequestError(f"{item!r}: expected a name, or an object with one")
    chosen = str(given.pop("action", action)).strip().lower()
    if chosen not in ACTIONS:
        raise RuleRequestError(f"action={chosen!r}: expected one of {', '.join(ACTIONS)}")
    if name.lower() == "all":
        if given:
            raise RuleRequestError("all: parameters belong to one rule; name it after `all`")
        return [Asked(each, {}, chosen, named=False) for each in MODULES]
    found = name if ":" in name else known(name)
    if _true(given.get("stop_training_on_fire")) and "action" not in (
        item if isinstance(item, dict) else {}
    ):
        chosen = "stop"
    made = Asked(found, given, chosen)
    if not made.own:
        check(made)
    return [made]


def _true(value: Any) -> bool:
    return str(value).strip().lower() in ("true", "1", "yes")


def _compact(text: str) -> tuple[str, dict[str, Any]]:
    """`name:key=value:key=value`; a part without `=` belongs to the name of a user's class."""
    parts = re.split(":(?!//)", text)  # a value may be a prefix on S3
    named = [part for part in parts if "=" not in part]
    pairs = [part.partition("=") for part in parts if "=" in part]
    return ":".join(named), {key.strip(): value.strip() for key, _, value in pairs}


def known(name: str) -> str:
    """The rule by this name, however it is written. Raises RuleRequestError."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()
    plain = OTHER_NAMES.get(plain, plain)
    if plain in MODULES:
        return plain
    import difflib

    near = difflib.get_close_matches(plain, MODULES, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(MODULES)}"
    raise RuleRequestError(f"{name}: no such rule{hint}")


def class_of(name: str) -> type:
    """Of one of ours."""
    module = importlib.import_module(f"debugger.rules.{name}")
    found: type = getattr(module, "".join(part.title() for part in name.split("_")))
    return found


def check(asked: Asked) -> None:
    """Raises RuleRequestError where a parameter is unknown or of the wrong kind."""
    from debugger.rules import parameters

    try:
        parameters.read(class_of(asked.name).parameters, asked.parameters)  # type: ignore[attr-defined]
    except ValueError as error:
        raise RuleRequestError(f"{asked.name}: {error}") from None


def own_class(name: str) -> type:
    """A user's rule: `module:Class` or `file.py:Class`. Raises RuleRequestError."""
    where, _, what = name.rpartition(":")
    try:
        if where.endswith(".py") or "/" in where:
            spec = importlib.util.spec_from_file_location(f"rule_{Path(where).stem}", where)
            if spec is None or spec.loader is None:
                raise ImportError(f"no file {where}")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
        found = getattr(module, what)
    except Exception as error:  # whatever the user's file does when it is read
        raise RuleRequestError(f"{name}: {type(error).__name__}: {error}") from error
    if not (inspect.isclass(found) and callable(getattr(found, "invoke_at_step", None))):
        raise RuleRequestError(f"{name}: not a subclass of smdebug's Rule")
    made: type = found
    return made


def make(asked: Asked, trial: Any, others: list[Any] | None) -> Any:
    """The rule over a trial. smdebug's own base class wants an action string, which users' classes
    take, or do not. Raises RuleRequestError."""
    if not asked.own:
        given = {key: value for key, value in asked.parameters.items() if key != "other_trials"}
        return class_of(asked.name)(trial, "", others, **given)
    made = own_class(asked.name)
    takes = inspect.signature(made).parameters
    given = dict(asked.parameters)
    if "action_str" in takes:
        given.setdefault("action_str", "")
    if "other_trials" in takes:
        given.setdefault("other_trials", others)
    try:
        return made(trial, **given)
    except Exception as error:
        raise RuleRequestError(f"{asked.name}: {type(error).__name__}: {error}") from error
