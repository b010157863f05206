"""The first screen: what is wrong, how sure that is, what to change and what it brings; or that
nothing is wrong, and what was not looked at."""

from debugger.report.material import Material
from debugger.report.moments import clock, leading
from debugger.report.usage import hosts, pace, usage
from debugger.report.words import (
    SURE,
    inside,
    listed,
    seconds,
    sentence,
    several,
    short,
    title,
)
from debugger.verdict import Status, Verdict
from pages.markup import Html, fill, join

MOST_FINDINGS = 5
"""On the first screen; the others are named there and stand in the table."""
MOST_ADVICE = 2
MOST_REASONS = 6


def summary(material: Material) -> Html:
    found = material.of(Status.ISSUES_FOUND)
    return join(
        [
            _state(material, found),
            _findings(found),
            _advice(material),
            _unseen(material),
            _cards(material),
        ]
    )


def headline(material: Material) -> tuple[str, str]:
    """What a reader sees first, and the class of its colour: `found`, `fine` or `blind`."""
    found = material.of(Status.ISSUES_FOUND)
    if found:
        named = listed([inside(title(each.rule)) for each in found], 3)
        return f"{several(len(found), 'problem')} found: {named}", "found"
    healthy = material.of(Status.NO_ISSUES_FOUND)
    if healthy:
        rest = len(material.verdicts) - len(healthy)
        told = "Nothing wrong was found"
        if rest:
            told += f" by {several(len(healthy), 'rule')}; {rest:,} could not look"
        # what few rules say of much that nobody looked at is no all-clear
        return told, "fine" if len(healthy) >= rest else "blind"
    if material.verdicts:
        return "Nothing is known: no rule could look at anything", "blind"
    return "Nothing is known: no rule was run", "blind"


def _state(material: Material, found: list[Verdict]) -> Html:
    told, css = headline(material)
    healthy = len(material.of(Status.NO_ISSUES_FOUND))
    blind = len(material.verdicts) - healthy - len(found)
    counts = [
        several(len(material.verdicts), "rule"),
        f"{len(found):,} found a problem",
        f"{healthy:,} found nothing",
        f"{blind:,} could not look",
    ]
    return fill(
        '<div class="state $css" role="status"><p class="headline">$told</p><p>$counts. '
        '<a href="#rules">All rules</a></p></div>',
        css=css, told=told, counts=", ".join(counts),
    )  # fmt: skip


def _findings(found: list[Verdict]) -> Html:
    if not found:
        return Html("")
    items = join(
        finding(title(each.rule), SURE[each.sureness], each.reason, each.advice, each.gain)
        for each in found[:MOST_FINDINGS]
    )
    more = Html("")
    if len(found) > MOST_FINDINGS:
        names = listed([inside(title(each.rule)) for each in found[MOST_FINDINGS:]], 12)
        more = fill('<p class="soft">Also found: $names; see <a href="#rules">the rules</a>.</p>',
                    names=names)  # fmt: skip
    return join([fill('<ol class="findings">$items</ol>', items=items), more])


def finding(name: str, sure: str, reason: str, change: str, gain: str) -> Html:
    rows = [("Change", "change", sentence(change)), ("Gain", "", sentence(gain))]
    return fill(
        '<li class="finding"><h2>$name <span class="sure">$sure</span></h2><p>$reason</p>'
        "<dl>$rows</dl></li>",
        name=name, sure=sure, reason=sentence(reason),
        rows=join(
            fill('<dt>$key</dt><dd class="$css">$value</dd>', key=key, css=css, value=value)
            for key, css, value in rows if value
        ),
    )  # fmt: skip


def _advice(material: Material) -> Html:
    if not material.advice:
        return Html("")
    told = join(
        fill("<li>$what$gain</li>", what=sentence(each.change),
             gain=f": {each.gain}" if each.gain else "")
        for each in material.advice[:MOST_ADVICE]
    )  # fmt: skip
    return fill(
        '<div class="unseen"><b>Time and cost</b> (<a href="#resources">arithmetic</a>)'
        "<ul>$told</ul></div>",
        told=told,
    )


def _unseen(material: Material) -> Html:
    """What silence must not be taken for health, by reason."""
    blind = material.of(Status.NOT_APPLICABLE) + material.of(Status.ERROR)
    if not blind:
        return Html("")
    by_reason: dict[str, list[str]] = {}
    for verdict in blind:
        by_reason.setdefault(verdict.reason or "no reason given", []).append(title(verdict.rule))
    groups = sorted(by_reason.items(), key=lambda group: -len(group[1]))
    items = [
        fill("<li><b>$names</b>: $reason</li>", names=listed(names, 8), reason=reason)
        for reason, names in groups
    ]
    shown_first, folded = items[:MOST_REASONS], items[MOST_REASONS:]
    more = Html("")
    if folded:
        more = fill("<details><summary>$count</summary><ul>$items</ul></details>",
                    count=several(len(folded), "more reason"), items=join(folded))  # fmt: skip
    return fill(
        '<div class="unseen"><b>Not looked at</b><ul>$items</ul>$more</div>',
        items=join(shown_first), more=more,
    )  # fmt: skip


def _cards(material: Material) -> Html:
    cards: list[tuple[str, str, str]] = []
    measured = material.measured
    time, steps = clock(measured), leading(measured)
    names = hosts(measured)
    if time is not None:
        note = f"{len(names)} hosts" if len(names) > 1 else ""
        cards.append(("time measured", seconds(time.seconds), note))
    if steps is not None and (found := pace(steps)) is not None:
        rate = f"{found.images / found.seconds:.4g} images/s" if found.images else ""
        cards.append(("a step", seconds(found.per_step), rate))
        cards.append(("waiting for data", f"{found.waiting:.0%}", "of the time of steps"))
    if names:
        used = usage(measured, names[0])
        for name, share in (("processors", used.cpu), ("memory", used.memory), ("GPU", used.gpu)):
            if share is not None:
                note = f"mean of {share.parts}; " if share.parts > 1 else "mean; "
                cards.append((name, f"{share.mean:.0f} %", f"{note}{share.highest:.0f} % at most"))
    if material.metrics:
        last = material.metrics[-1]
        train, held = last.get("train_loss"), last.get("validation_loss")
        if isinstance(train, int | float):
            note = f"validation {short(held)}" if isinstance(held, int | float) else ""
            cards.append((f"loss, epoch {last.get('epoch', '–')}", short(train), note))
    made = join(
        fill("<div><dt>$name</dt><dd>$value<small>$note</small></dd></div>",
             name=name, value=value, note=note)
        for name, value, note in cards
    )  # fmt: skip
    return fill('<dl class="cards">$cards</dl>', cards=made) if cards else Html("")
