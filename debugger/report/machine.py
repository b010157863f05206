"""The machine over time: what was used of each host, beside the epochs."""

from typing import Any

import numpy as np

from debugger.profiler.measured import Measured, Series
from debugger.report import figures, moments
from debugger.report.figures import MOST_POINTS, Figure, Figures, Traces
from debugger.report.moments import Clock
from debugger.report.thinning import Floats, line, spread
from debugger.report.usage import (
    CPU,
    GPU,
    GPU_MEMORY,
    IO_WAIT,
    MEMORY,
    Share,
    hosts,
    usage,
)
from debugger.report.words import several, short
from pages.document import Section
from pages.markup import Html, fill, join, paragraph, table

MOST_HOSTS = 4
MOST_PARTS = 96
"""Rows of the picture of single processors or GPUs."""
MOST_COLUMNS = 300
MOST_OTHERS = 6
"""Plots of other dimensions, such as bytes of network and disk, of one host."""
LISTED = 24
SHARES = {CPU, GPU, GPU_MEMORY, IO_WAIT, MEMORY}


def machine(measured: Measured, drawn: Figures) -> Section:
    names = [name for name in hosts(measured) if any(s.host == name for s in measured.series)]
    time = moments.clock(measured)
    if not names or time is None:
        told = (
            "The machine was not measured: nothing is known of processors, memory, GPUs, disk and "
            "network."
        )
        return Section("Machine", paragraph(told, "soft"))
    parts = [
        paragraph(
            "Dotted lines are where epochs begin. A long series is drawn as the mean of parts of "
            f"it, at most {MOST_POINTS:,} of a line, the band around it reaches from the lowest to "
            "the highest value.",
            "soft",
        )
    ]
    for name in names[:MOST_HOSTS]:
        if len(names) > 1:
            parts.append(fill("<h3>$host</h3>", host=name))
        parts.append(_host(measured, name, time, drawn))
    if len(names) > MOST_HOSTS:
        rest = several(len(names) - MOST_HOSTS, "more host")
        parts.append(paragraph(f"{rest} not drawn; the table and the JSON have all.", "soft"))
    parts.append(_table(measured))
    return Section("Machine", join(parts))


def _host(measured: Measured, host: str, time: Clock, drawn: Figures) -> Html:
    used = usage(measured, host)
    own = [series for series in measured.series if series.host == host]
    shares = [
        ("processors, mean", used.cpu, "--s1"),
        ("memory", used.memory, "--s3"),
        ("GPU, mean", used.gpu, "--s2"),
        ("GPU memory, fullest", used.gpu_memory, "--s4"),
        ("waiting for disk", used.io_wait, "--s6"),
    ]
    marks = figures.marks(moments.marks(measured, time))
    axes = {
        "xaxis": {"title": {"text": f"{time.unit} since the first measurement"}},
        "yaxis": {"range": [0, 101], "ticksuffix": " %"},
    }
    traces: Traces = []
    told = []
    for name, share, colour in shares:
        if share is not None:
            traces += _line(name, share, time, colour)
            told.append(f"{name} {share.mean:.0f} %, at most {share.highest:.0f} %")
    use = Figure("Use over time", f"Mean: {'; '.join(told)}.", traces, {**axes, **marks}, 320)
    return join(
        [
            drawn.add(use),
            _singles("Each processor", [s for s in own if s.dimension == CPU], time, drawn),
            _singles("Each GPU", [s for s in own if s.dimension == GPU], time, drawn),
            _others(own, time, drawn),
        ]
    )


def _line(name: str, share: Share, time: Clock, colour: str) -> Traces:
    thin = line(time(share.times), share.values, MOST_POINTS)
    drawn = figures.line(name, thin.x, thin.mean, colour, hovertemplate="%{y:.0f} %")
    if thin.whole:
        return [drawn]
    return [*figures.band(thin.x, thin.low, thin.high, f"{colour}/0.15"), drawn]


def _singles(title: str, series: list[Series], time: Clock, drawn: Figures) -> Html:
    """Processors or GPUs one by one: one that works alone, or one that idles, is seen at once."""
    if len(series) < 2:
        return Html("")
    kept = spread(sorted(series, key=lambda each: _natural(each.name)), MOST_PARTS)
    # on common times: the sampler takes all parts at once, another one need not
    ends = np.linspace(time.began, time.ended, MOST_COLUMNS + 1)[1:].astype(np.float64)
    longest = max(len(each.times) for each in kept)
    if longest < MOST_COLUMNS:
        ends = max((each.times for each in kept), key=len)
    rows = [_binned(each, ends) for each in kept]
    means = [float(np.nanmean(row)) if np.isfinite(row).any() else 0.0 for row in rows]
    told = (
        f"{len(series)} rows, the busiest {max(means):.0f} % on average, the least busy "
        f"{min(means):.0f} %."
    )
    if len(kept) < len(series):
        told += f" {len(kept)} of {len(series)} are drawn."
    names = [each.name or each.type for each in kept]
    heat = {
        "type": "heatmap",
        "x": figures.array(time(ends)),
        "y": figures.rows(names),
        "z": figures.array(np.stack(rows)),
        "zmin": 0,
        "zmax": 100,
        "colorscale": [[0, "--empty"], [1, "--s1"]],
        "colorbar": {"ticksuffix": " %", "thickness": 12, "outlinewidth": 0},
        "hovertemplate": "%{y}<br>%{x:.4g} " + time.unit + "<br>%{z:.0f} %<extra></extra>",
    }
    layout = {
        "yaxis": figures.names_axis(names),
        "xaxis": {"title": {"text": f"{time.unit} since the first measurement"}},
        "hovermode": "closest",
    }
    height = 130 + min(300, 18 * len(kept))
    return drawn.add(Figure(title, told, [heat], layout, height))


def _binned(series: Series, ends: Floats) -> Floats:
    """Means up to each of the ends, NaN where nothing was measured."""
    places = np.searchsorted(ends, series.times)
    keep = (places < len(ends)) & np.isfinite(series.values)
    sums = np.bincount(places[keep], series.values[keep], len(ends))
    counts = np.bincount(places[keep], minlength=len(ends))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _others(own: list[Series], time: Clock, drawn: Figures) -> Html:
    others = [
        series for series in own
        if not SHARES & {series.dimension, series.name} and np.isfinite(series.values).any()
    ]  # fmt: skip
    made = []
    for series in others[:MOST_OTHERS]:
        thin = line(time(series.times), series.values, MOST_POINTS // 2)
        name = _name(series)
        traces = [figures.line(name, thin.x, thin.mean, "--s1", hovertemplate="%{y:.4s}")]
        if not thin.whole:
            traces = [*figures.band(thin.x, thin.low, thin.high, "--s1/0.15"), *traces]
        highest = float(np.nanmax(series.values))
        told = f"At most {short(highest)}, in the unit of the dimension."
        layout = {
            "xaxis": {"title": {"text": time.unit}},
            "yaxis": {"rangemode": "tozero"},
            "showlegend": False,
        }
        made.append(drawn.add(Figure(name, told, traces, layout, 220)))
    if not made:
        return Html("")
    more = Html("")
    if len(others) > MOST_OTHERS:
        more = paragraph(f"{len(others) - MOST_OTHERS} more are in the table.", "soft")
    return join([fill('<div class="pairs">$made</div>', made=join(made)), more])


def _name(series: Series) -> str:
    return " ".join(part for part in (series.name, series.dimension) if part) or series.type


def _natural(name: str) -> tuple[int, str]:
    digits = "".join(char for char in name if char.isdecimal())
    return int(digits[:9] or 0), name


def _table(measured: Measured) -> Html:
    """As the platform's rule OverallSystemUsage: of each dimension of each host."""
    rows = summaries(measured)
    if not rows:
        return Html("")
    head = ("host", "what", "points", "lowest", "median", "p95", "p99", "highest")
    shown = [
        (row["host"], row["name"], row["points"],
         *(short(row[key]) for key in ("min", "p50", "p95", "p99", "max")))
        for row in rows
    ]  # fmt: skip
    made = table(head, shown[:LISTED], css="sortable", caption="Everything that was measured")
    if len(shown) <= LISTED:
        return made
    more = table(head, shown[LISTED:400])
    return join([made, fill("<details><summary>$rest</summary>$more</details>",
                            rest=several(len(shown) - LISTED, "more row"), more=more)])  # fmt: skip


def summaries(measured: Measured) -> list[dict[str, Any]]:
    """Per host and dimension; processors and GPUs of a host taken together."""
    groups: dict[tuple[str, str], list[Floats]] = {}
    for series in measured.series:
        together = series.dimension in SHARES and series.dimension != series.name
        name = series.dimension if together and series.name != MEMORY else _name(series)
        values = series.values[np.isfinite(series.values)]
        if len(values):
            groups.setdefault((series.host, name), []).append(values)
    made = []
    for (host, name), values in groups.items():
        every = np.concatenate(values)
        low, middle, most, nearly_all = np.percentile(every, [0, 50, 95, 99])
        made.append({
            "host": host, "name": name, "parts": len(values), "points": len(every),
            "min": float(low), "p50": float(middle), "p95": float(most),
            "p99": float(nearly_all), "max": float(every.max()), "mean": float(every.mean()),
        })  # fmt: skip
    return made
