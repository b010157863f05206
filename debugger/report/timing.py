"""Where the time of a step goes: its stages, the steps that took too long, and the operators."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from debugger.profiler.measured import STAGES, Measured, Operator, Steps
from debugger.report import figures, moments
from debugger.report.figures import Figure, Figures
from debugger.report.thinning import Floats, line, spread
from debugger.report.words import several, short
from pages.document import Section
from pages.markup import Html, fill, join, paragraph, percent, table

PERCENTILES = (50, 90, 95, 99)
DEVIATIONS = 3
"""Standard deviations above the mean from which on a step is an outlier: the default that requests
to the platform carry (`stddev` of StepOutlier)."""
MOST_OUTLIERS = 300
"""Marked in the plot."""
SLOWEST = 10
MOST_PARTS = 240
"""Of the plots over steps."""
MOST_PROCESSES = 8
MOST_OPERATORS = 12
WORDS = {
    "data_wait": "waiting for data",
    "host_to_device": "to the device",
    "forward": "forward",
    "backward": "backward",
    "optimizer": "optimizer",
    "hook": "debugger's hook",
    "other": "other",
}
KINDS = {"operator": "Operators", "kernel": "GPU kernels", "python": "Functions"}
LISTED_OPERATORS = 40
LONGEST_NAME = 200
"""Characters of an operator in the table: kernels have names of thousands."""
COLOURS = ("--s2", "--s5", "--s1", "--s3", "--s4", "--s7", "--s6")


def timing(measured: Measured, drawn: Figures) -> Section:
    every = [steps for steps in measured.steps if len(steps.numbers)]
    if not every:
        return Section("Time of a step", paragraph("No step was timed.", "soft"))
    first = moments.leading(measured)
    assert first is not None
    parts = [_percentiles(first)]
    chosen = spread(every, MOST_PROCESSES)
    named = [(f"{steps.host}, process {steps.rank}", steps) for steps in chosen]
    parts.append(drawn.choice([(name, _stages(steps)) for name, steps in named], "Of"))
    parts.append(drawn.choice([(name, _outliers(steps)) for name, steps in named], "Of"))
    parts.append(_slowest(first))
    if len(every) > 1:
        parts.append(_processes(every))
    return Section("Time of a step", join(parts))


def stages(steps: Steps) -> dict[str, Floats]:
    """Seconds of each step by stage, those that were measured, and what is left of the step."""
    whole = np.nan_to_num(np.asarray(steps.seconds, np.float64), posinf=0, neginf=0)
    found = {
        name: np.nan_to_num(np.asarray(steps.stages[name], np.float64), posinf=0, neginf=0)
        for name in STAGES
        if name in steps.stages and len(steps.stages[name]) == len(whole)
    }
    return {**found, "other": np.maximum(0, whole - sum(found.values(), np.zeros(len(whole))))}


def percentiles(steps: Steps) -> dict[str, dict[str, float]]:
    """Seconds, by stage and `step`, of all steps but the first, which also warms up."""
    later = slice(1, None) if len(steps.seconds) > 1 else slice(None)
    whole = np.asarray(steps.seconds, np.float64)[later]
    whole = whole[np.isfinite(whole)]
    if not len(whole):
        return {}
    total = max(float(whole.sum()), 1e-12)
    made = {}
    for name, values in {"step": whole, **{k: v[later] for k, v in stages(steps).items()}}.items():
        spread_out = np.percentile(values, PERCENTILES)
        made[name] = {
            "share": float(values.sum()) / total,
            "mean": float(values.mean()),
            **{f"p{at}": float(v) for at, v in zip(PERCENTILES, spread_out, strict=True)},
            "max": float(values.max()),
        }
    return made


def _percentiles(steps: Steps) -> Html:
    found = percentiles(steps)
    rows = [
        ("whole step" if name == "step" else WORDS[name], percent(row["share"]),
         *(f"{row[key] * 1000:,.1f}" for key in ("mean", "p50", "p90", "p95", "p99", "max")))
        for name, row in found.items()
    ]  # fmt: skip
    head = ("stage", "share", "mean", "median", "p90", "p95", "p99", "longest")
    caption = f"Milliseconds, {several(len(steps.seconds), 'step')} of {steps.host}, process "
    return table(head, rows, caption=f"{caption}{steps.rank}; without the first, which warms up")


def _stages(steps: Steps) -> Figure:
    numbers = steps.numbers.astype(np.float64)
    traces = []
    by_stage = stages(steps)
    total = max(1e-12, sum(float(values.sum()) for values in by_stage.values()))
    told = []
    for colour, (name, values) in zip(COLOURS, by_stage.items(), strict=False):
        thin = line(numbers, values * 1000, MOST_PARTS)
        traces.append({
            **figures.line(WORDS[name], thin.x, thin.mean, colour, hovertemplate="%{y:.4g} ms"),
            "stackgroup": "step", "fillcolor": f"{colour}/0.55",
        })  # fmt: skip
        traces[-1]["line"] = {"color": colour, "width": 1}
        if values.sum() > 0.005 * total:
            told.append(f"{WORDS[name]} {values.sum() / total:.0%}")
    layout = {
        "yaxis": {"title": {"text": "milliseconds"}, "rangemode": "tozero"},
        "xaxis": {"title": {"text": "step"}},
        **figures.marks(_epoch_marks(steps)),
    }
    few = len(numbers) > MOST_PARTS
    note = f" Means of {MOST_PARTS} parts of the run." if few else ""
    return Figure("Stages of a step", f"{', '.join(told)}.{note}", traces, layout, 320)


def _epoch_marks(steps: Steps) -> list[tuple[float, str]]:
    found = moments.epochs(steps)
    every = max(1, -(-len(found) // 10))
    return [
        (float(steps.numbers[at]), f"epoch {epoch}" if place % every == 0 else "")
        for place, (epoch, at) in enumerate(found)
    ]


def slow(steps: Steps) -> tuple[NDArray[np.int64], float]:
    """Places of the outliers, the slowest first, and the seconds from which on a step is one."""
    seconds = np.asarray(steps.seconds, np.float64)
    finite = seconds[np.isfinite(seconds)][1 if len(seconds) > 1 else 0 :]
    if not len(finite):
        return np.zeros(0, np.int64), np.inf
    bound = float(finite.mean() + DEVIATIONS * finite.std())
    places = np.flatnonzero(seconds > bound)
    return places[np.argsort(-seconds[places], kind="stable")], bound


def _outliers(steps: Steps) -> Figure:
    numbers = steps.numbers.astype(np.float64)
    thin = line(numbers, np.asarray(steps.seconds) * 1000, 2 * MOST_PARTS)
    traces = [figures.line("a step", thin.x, thin.mean, "--s1", hovertemplate="%{y:.4g} ms")]
    if not thin.whole:
        traces = [*figures.band(thin.x, thin.low, thin.high, "--s1/0.15"), *traces]
    places, bound = slow(steps)
    shown = places[:MOST_OUTLIERS]
    if len(shown):
        traces.append({
            "type": "scatter", "mode": "markers", "name": "outliers",
            "x": figures.array(numbers[shown]),
            "y": figures.array(np.asarray(steps.seconds)[shown] * 1000),
            "marker": {"color": "--s2", "size": 7, "symbol": "x-thin",
                       "line": {"color": "--s2", "width": 2}},
            "hovertemplate": "%{y:.4g} ms",
        })  # fmt: skip
    told = f"{several(len(places), 'step')} of {len(numbers):,} took longer than mean + "
    told += f"{DEVIATIONS} standard deviations = {short(bound * 1000)} ms."
    if len(shown) < len(places):
        told += f" The {len(shown)} slowest are marked."
    layout = {
        "yaxis": {"title": {"text": "milliseconds"}, "rangemode": "tozero"},
        "xaxis": {"title": {"text": "step"}},
        **figures.marks(_epoch_marks(steps)),
    }
    return Figure("Steps that took long", told, traces, layout, 300)


def _slowest(steps: Steps) -> Html:
    places, _ = slow(steps)
    if not len(places):
        return Html("")
    by_stage = stages(steps)
    usual = {name: float(np.median(values)) for name, values in by_stage.items()}
    rows = []
    for at in places[:SLOWEST]:
        over = {name: float(values[at]) - usual[name] for name, values in by_stage.items()}
        most = max(over, key=lambda name: over[name])
        rows.append((
            f"{int(steps.numbers[at]):,}", int(steps.epochs[at]),
            f"{float(steps.seconds[at]) * 1000:,.1f}", f"{WORDS[most]} (+{over[most] * 1000:,.1f})",
        ))  # fmt: skip
    head = ("step", "epoch", "milliseconds", "most of it, over the median")
    return table(head, rows, caption="The slowest outliers", css="sortable")


def _processes(every: list[Steps]) -> Html:
    rows = []
    for steps in every[:200]:
        found = percentiles(steps)
        if found:
            waits = found.get("data_wait", {}).get("share", 0.0)
            rows.append((steps.host, steps.rank, len(steps.numbers),
                         f"{found['step']['p50'] * 1000:,.1f}", percent(waits)))  # fmt: skip
    head = ("host", "process", "steps", "median ms", "waiting for data")
    return table(head, rows, caption="Processes", css="sortable")


def operators(measured: Measured, drawn: Figures) -> Section | None:
    """From the trace, where one was taken."""
    if not measured.operators:
        return None
    lead = "From the trace: time spent in each alone, without what it calls."
    parts = [paragraph(lead, "soft")]
    kinds = list(dict.fromkeys(each.kind for each in measured.operators))
    for kind in kinds[:6]:
        own = [each for each in measured.operators if each.kind == kind]
        own.sort(key=lambda each: -each.seconds)
        parts += [_bars(kind, own, drawn), _operators(kind, own)]
    return Section("Operators and functions", join(parts))


def _bars(kind: str, own: list[Operator], drawn: Figures) -> Html:
    top = own[:MOST_OPERATORS]
    names = [f"{at + 1}. {each.name}" for at, each in enumerate(top)]
    first = top[0]
    told = (
        f"{first.name} takes the most: {first.seconds:.3g} s, {first.share:.0%} of the traced time."
    )
    trace: dict[str, Any] = {
        "type": "bar", "orientation": "h",
        "x": figures.array([each.seconds for each in top]),
        "y": figures.rows(names),
        "marker": {"color": "--s1/0.75"},
        "hovertemplate": "%{y}<br>%{x:.4g} s<extra></extra>",
    }  # fmt: skip
    layout = {
        "yaxis": {**figures.names_axis(names), "autorange": "reversed"},
        "xaxis": {"title": {"text": "seconds"}},
        "hovermode": "closest", "showlegend": False,
    }  # fmt: skip
    return drawn.add(Figure(KINDS.get(kind, kind), told, [trace], layout, 100 + 24 * len(top)))


def _operators(kind: str, own: list[Operator]) -> Html:
    rows = [
        (each.name[:LONGEST_NAME], f"{each.calls:,}", short(each.seconds), percent(each.share))
        for each in own[:LISTED_OPERATORS]
    ]
    made = table((kind, "calls", "seconds", "share of the time"), rows, css="sortable")
    return fill("<details><summary>The first $count as a table</summary>$made</details>",
                count=len(rows), made=made)  # fmt: skip
