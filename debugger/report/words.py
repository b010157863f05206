"""Numbers and names as a reader wants them."""

import math

from debugger.verdict import Status, Sureness

STATUS = {
    Status.ISSUES_FOUND: ("✕ problem found", "found"),
    Status.NO_ISSUES_FOUND: ("✓ nothing found", "fine"),
    Status.NOT_APPLICABLE: ("– could not look", "blind"),
    Status.ERROR: ("! rule failed", "blind"),
}
"""What a status is called on the page, with a sign for those who see no colours, and its class."""

SURE = {
    Sureness.CERTAIN: "certain",
    Sureness.LIKELY: "likely",
    Sureness.POSSIBLE: "possible",
}

UNITS = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


SPELLED = {"relu": "ReLU", "gpu": "GPU", "cpu": "CPU", "io": "I/O", "nan": "NaN", "inf": "Inf"}


def title(rule: str) -> str:
    """`dead_relu` -> `Dead ReLU`; a person's own rule may have any name."""
    words = rule.removesuffix("_rule").replace("_", " ").split() or ["a rule without a name"]
    first, *rest = (SPELLED.get(word.lower(), word) for word in words)
    return " ".join([first[:1].upper() + first[1:], *rest])


def inside(name: str) -> str:
    """A title within a sentence: `dead ReLU`, but `GPU memory increase`."""
    first = name.split(" ")[0]
    return name if first in SPELLED.values() else name[:1].lower() + name[1:]


def sentence(text: str) -> str:
    """Begins with a capital, unless its first word is a name such as `learning_rate=0.1`."""
    first = text.split(" ")[0].rstrip(",.:;")
    return text[:1].upper() + text[1:] if first.isalpha() else text


def seconds(value: float) -> str:
    """`0.0031 s`, `12.3 s`, `4 min 5 s`, `2 h 10 min`."""
    if not math.isfinite(value):
        return "–"
    if value < 59.5:
        return f"{value:.3g} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def short(value: float) -> str:
    return "–" if not math.isfinite(value) else f"{value:.4g}"


def several(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(items: list[str], most: int) -> str:
    """The first of them, and how many more there are."""
    named = ", ".join(items[:most])
    return f"{named} and {len(items) - most:,} more" if len(items) > most else named
