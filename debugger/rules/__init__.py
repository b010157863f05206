"""Rules over what a job has saved: one module each, over smdebug's own `Rule`.

This file imports neither smdebug nor a rule, so that a job without rules pays for none.
"""

from collections.abc import Iterable

from debugger.rules.asked import Asked, class_of

PATTERNS = (
    "tensor_regex", "regex", "labels_regex", "predictions_regex", "activation_inputs_regex",
    "labels", "predictions",
)  # fmt: skip
"""Parameters that name tensors."""


def collections_needed(rules: Iterable[Asked]) -> list[str]:
    """Collections that the hook must save for these rules. Of `all` those of the cheap ones: what
    layers answer is saved for rules that are named."""
    asked = [each for each in rules if not each.own]
    found: dict[str, None] = {}
    for each in asked:
        made = class_of(each.name)
        if not (each.named or made.cheap):  # type: ignore[attr-defined]
            continue
        found |= dict.fromkeys(made.saves)  # type: ignore[attr-defined]
        given = each.parameters.get("collection_names")
        words = given.split(",") if isinstance(given, str) else given or []
        found |= dict.fromkeys(str(word).strip() for word in words)
    return list(found)


def regexes_needed(rules: Iterable[Asked]) -> list[str]:
    """Names that the hook must save beyond the collections, because a request names them."""
    given = (each.parameters.get(key) for each in rules if not each.own for key in PATTERNS)
    return list(dict.fromkeys(str(pattern) for pattern in given if pattern))
