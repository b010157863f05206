"""Inside the network: gradients of every layer over time, and how weights and activations lie."""

import os.path
from collections.abc import Sequence
from typing import Any

import numpy as np

from debugger.report import figures
from debugger.report.figures import Figure, Figures
from debugger.report.tensors import Digest, Distribution, Floats, Gradients
from debugger.report.words import several, short
from pages.document import Section
from pages.markup import Html, fill, join, paragraph, percent, table

KINDS = {"weights": "Weights", "activations": "Activations"}
MOST_BROKEN = 400
"""Marks of gradients that are NaN or infinite."""
EXTREMES = 5
STEP = "step"


def layers(digest: Digest | None, drawn: Figures) -> list[Section]:
    if digest is None:
        told = (
            "No tensors were saved: nothing is known of gradients, weights and activations. "
            "debug_save_interval saves them, or the platform's hook configuration."
        )
        return [Section("Inside the network", paragraph(told, "soft"))]
    parts = [
        paragraph(
            f"{several(digest.tensors, 'tensor')} saved at {several(digest.saved_steps, 'step')}. "
            "Steps are the Debugger's: training and evaluation counted together.",
            "soft",
        )
    ]
    if digest.notes:
        parts.append(paragraph(f"Shown in part: {'; '.join(digest.notes)}.", "soft"))
    parts.append(_gradients(digest.gradients, drawn))
    for kind, title in KINDS.items():
        parts.append(_distributions(kind, title, digest, drawn))
    return [Section("Inside the network", join(parts))]


def plain_names(names: Sequence[str]) -> list[str]:
    """Without the word for the network that all of them begin with."""
    if len(names) < 2:
        return list(names)
    shared = os.path.commonprefix(list(names))
    cut = shared.rfind("_") + 1
    return [name[cut:] for name in names] if cut else list(names)


def _gradients(found: Gradients | None, drawn: Figures) -> Html:
    if found is None:
        told = "No gradients were saved (collection gradients)."
        return join([fill("<h3>Gradients</h3>"), paragraph(told, "soft")])
    sizes, names = found.sizes, plain_names(found.layers)
    broken = np.isinf(sizes)
    positive = sizes[np.isfinite(sizes) & (sizes > 0)]
    floor = float(positive.min()) if positive.size else 1e-12
    # the colour of a zero is the coldest: a logarithm has no place for it
    logs = np.log10(np.where(np.isfinite(sizes), np.maximum(sizes, floor), np.nan))
    ends = (np.floor(np.log10(floor)), np.ceil(np.log10(positive.max() if positive.size else 1)))
    powers = np.arange(ends[0], ends[1] + 1, max(1, (ends[1] - ends[0]) // 8))
    heat: dict[str, Any] = {
        "type": "heatmap",
        "x": figures.array(found.steps),
        "y": figures.rows(names),
        "z": figures.array(logs),
        "customdata": figures.array(np.nan_to_num(sizes, posinf=np.nan)),
        "colorscale": "Viridis",
        "colorbar": {
            "tickvals": powers.tolist(), "ticktext": [f"1e{power:.0f}" for power in powers],
            "thickness": 12, "outlinewidth": 0, "title": {"text": found.measure, "side": "right"},
        },
        "hovertemplate": "%{y}<br>step %{x}<br>" + found.measure
        + " %{customdata:.3g}<extra></extra>",
    }  # fmt: skip
    traces = [heat]
    told = _gradients_told(found, names)
    if broken.any():
        rows, columns = np.nonzero(broken)
        traces.append({
            "type": "scatter", "mode": "markers", "name": "NaN or infinite",
            "x": figures.array(np.array(found.steps)[columns[:MOST_BROKEN]]),
            "y": figures.rows([names[row] for row in rows[:MOST_BROKEN]]),
            "marker": {"symbol": "x", "size": 8, "color": "--s2"},
            "hovertemplate": "%{y}<br>step %{x}<br>NaN or infinite<extra></extra>",
        })  # fmt: skip
    half = (found.steps[-1] - found.steps[0]) / max(1, len(found.steps) - 1) / 2 or 0.5
    layout = {
        # marks at an edge would make room for themselves
        "yaxis": {**figures.names_axis(names), "range": [-0.5, len(names) - 0.5]},
        "xaxis": {
            "title": {"text": STEP},
            "range": [found.steps[0] - half, found.steps[-1] + half],
        },
        "hovermode": "closest",
    }
    height = 150 + min(560, max(90, 14 * len(names)))
    title = "Gradients: layers over time"
    return join([
        fill("<h3>Gradients</h3>"),
        drawn.add(Figure(title, told, traces, layout, height)),
        _extremes(found, names),
    ])  # fmt: skip


def _gradients_told(found: Gradients, names: list[str]) -> str:
    some = f"{len(names):,} of " if len(names) < found.saved_layers else ""
    told = f"{found.measure} of {some}{several(found.saved_layers, 'parameter')} at "
    told += f"{several(len(found.steps), 'step')}, the network's first at the bottom; colour is "
    told += "the power of ten."
    last = last_of(found)
    known = [at for at in range(len(names)) if np.isfinite(last[at])]
    if known:
        low, high = min(known, key=lambda at: last[at]), max(known, key=lambda at: last[at])
        told += f" Last: {short(last[low])} in {names[low]} to "
        told += f"{short(last[high])} in {names[high]}."
    broken = np.isinf(found.sizes)
    if broken.any():
        step = int(broken.any(axis=0).argmax())
        row = int(broken[:, step].argmax())
        told += f" {several(int(broken.sum()), 'gradient')} NaN or infinite, first at step "
        told += f"{found.steps[step]:,} in {names[row]}."
    return told


def last_of(found: Gradients) -> Floats:
    """The newest size of each layer, NaN where it has none."""
    made: Floats = np.full(len(found.layers), np.nan)
    for column in found.sizes.T:
        made = np.where(np.isnan(column), made, column)
    return made


def _extremes(found: Gradients, names: list[str]) -> Html:
    last = last_of(found)
    middle = np.full(len(names), np.nan)
    for at, row in enumerate(found.sizes):
        kept = row[np.isfinite(row)]
        if len(kept):
            middle[at] = np.median(kept)
    order = [int(at) for at in np.argsort(np.nan_to_num(middle, nan=np.inf), kind="stable")]
    order = [at for at in order if np.isfinite(middle[at])]
    chosen = order if len(order) <= 2 * EXTREMES else [*order[:EXTREMES], *order[-EXTREMES:]]
    if not chosen:
        return Html("")
    rows = [(names[at], short(middle[at]), short(last[at])) for at in chosen]
    head = ("layer", f"median {found.measure}", "last")
    made = table(head, rows, css="sortable", caption="The smallest and the largest gradients")
    return fill("<details><summary>Numbers</summary>$made</details>", made=made)


def _distributions(kind: str, title: str, digest: Digest, drawn: Figures) -> Html:
    own = [each for each in digest.distributions if each.kind == kind]
    head = fill("<h3>$title</h3>", title=title)
    if not own:
        return join([head, paragraph(f"No {kind} were saved with their values.", "soft")])
    names = plain_names([each.name for each in own])
    plots = [(name, _histogram(title, name, each)) for name, each in zip(names, own, strict=True)]
    rows = [
        (name, f"{each.values:,}", short(float(each.mean[-1])), short(float(each.deviation[-1])),
         percent(float(each.zeros[-1])), f"{int(each.broken.sum()):,}")
        for name, each in zip(names, own, strict=True)
    ]  # fmt: skip
    columns = ("tensor", "values", "mean", "deviation", "zeros", "NaN or infinite")
    numbers = table(columns, rows, css="sortable", caption="At the last step; broken: at all steps")
    return join([
        head,
        drawn.choice(plots, "Tensor"),
        fill("<details><summary>Numbers of all</summary>$numbers</details>", numbers=numbers),
    ])  # fmt: skip


def _histogram(title: str, name: str, found: Distribution) -> Figure:
    middles = (found.edges[:-1] + found.edges[1:]) / 2
    # a spike, as the zeros of ReLU, must not leave the rest without colour
    shade = np.sqrt(found.shares)
    heat: dict[str, Any] = {
        "type": "heatmap",
        "x": figures.array(found.steps),
        "y": figures.array(middles),
        "z": figures.array(shade.T),
        "customdata": figures.array(found.shares.T * 100),
        "colorscale": [[0, "--empty"], [1, "--s1" if found.kind == "weights" else "--s3"]],
        "showscale": False,
        "hovertemplate": "step %{x}<br>around %{y:.3g}<br>%{customdata:.3g} % of the values"
        "<extra></extra>",
    }  # fmt: skip
    steps = np.array(found.steps)
    traces = [
        heat,
        figures.line("mean", steps, found.mean, "--s2", few=len(steps) < 20,
                     hovertemplate="mean %{y:.4g}<extra></extra>"),
    ]  # fmt: skip
    told = (
        f"{name}: {several(found.values, 'value')} at {several(len(steps), 'step')}; at the last "
        f"mean {short(float(found.mean[-1]))}, deviation {short(float(found.deviation[-1]))}, "
        f"{float(found.zeros[-1]):.0%} zeros. The darker, the more values."
    )
    if found.broken.any():
        told += f" {int(found.broken.sum()):,} values are NaN or infinite."
    layout = {
        "xaxis": {"title": {"text": STEP}},
        "yaxis": {"title": {"text": "value"}},
        "hovermode": "closest",
        "showlegend": False,
    }
    return Figure(f"{title} over time", told, traces, layout, 320)
