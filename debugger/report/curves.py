"""Loss curves: by epoch, as the job recorded them, and by step, as the Debugger saved them."""

from typing import Any

import numpy as np

from debugger.report import figures
from debugger.report.figures import MOST_POINTS, Figure, Figures
from debugger.report.material import Material
from debugger.report.thinning import line
from debugger.report.words import several, short
from pages.document import Section
from pages.markup import fill, join, paragraph

MODES = {"TRAIN": ("training", "--s1"), "EVAL": ("evaluation", "--s2")}
CURVES = (
    ("Loss by epoch", (("train_loss", "training"), ("validation_loss", "validation"))),
    ("Accuracy by epoch",
     (("train_top1_accuracy", "training"), ("validation_top1_accuracy", "validation"))),
    ("Learning rate, last of the epoch", (("learning_rate", "learning rate"),)),
)  # fmt: skip


def curves(material: Material, drawn: Figures) -> Section:
    made = [_by_epoch(title, lines, material.metrics) for title, lines in CURVES]
    placed = [drawn.add(figure) for figure in made if figure is not None]
    steps = _by_step(material)
    parts = [drawn.add(steps)] if steps is not None else []
    if placed:
        parts.insert(0, fill('<div class="pairs">$made</div>', made=join(placed)))
    if not parts:
        parts = [paragraph("No losses were recorded: no metrics.jsonl, and none saved.", "soft")]
    return Section("Loss", join(parts))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _by_epoch(
    title: str, lines: tuple[tuple[str, str], ...], rows: list[dict[str, Any]]
) -> Figure | None:
    epochs = np.array([_number(row.get("epoch", at + 1)) for at, row in enumerate(rows)])
    traces, told = [], []
    for colour, (key, name) in zip(("--s1", "--s2"), lines, strict=False):
        values = np.array([_number(row.get(key)) for row in rows])
        finite = np.flatnonzero(np.isfinite(values))
        if not len(finite):
            continue
        thin = line(epochs, values, MOST_POINTS)
        traces.append(figures.line(name, thin.x, thin.mean, colour, few=len(values) <= 25,
                                   hovertemplate="%{y:.4g}"))  # fmt: skip
        told.append(f"{name} {short(values[finite[0]])} to {short(values[finite[-1]])}")
        if len(finite) < len(values):
            told[-1] += f" ({len(values) - len(finite)} epochs without a number)"
    if not traces:
        return None
    across: dict[str, Any] = {"title": {"text": "epoch"}}
    if len(epochs) <= 12:
        across["dtick"] = 1
    layout = {"xaxis": across, "yaxis": {"rangemode": "tozero"}}
    return Figure(title, f"First to last: {'; '.join(told)}.", traces, layout, 260)


def _by_step(material: Material) -> Figure | None:
    losses = material.tensors.losses if material.tensors else []
    traces, told = [], []
    others = iter(("--s3", "--s4", "--s5", "--s6", "--s7") * 4)
    names = {loss.name for loss in losses}
    for loss in losses[:8]:
        mode, colour = MODES.get(loss.mode, (loss.mode.lower(), "--s6"))
        if len(names) > 1:
            mode, colour = f"{loss.name}, {mode}", next(others)
        steps = np.array(loss.steps, np.float64)
        thin = line(steps, loss.values, MOST_POINTS)
        if not thin.whole:
            traces += figures.band(thin.x, thin.low, thin.high, f"{colour}/0.15")
        traces.append(figures.line(mode, thin.x, thin.mean, colour, few=len(steps) <= 25,
                                   hovertemplate="%{y:.4g}"))  # fmt: skip
        finite = loss.values[np.isfinite(loss.values)]
        said = f"{mode} {several(len(steps), 'point')}"
        if len(finite):
            said += f", {short(finite[0])} to {short(finite[-1])}"
        if len(finite) < len(steps):
            said += f", {len(steps) - len(finite)} NaN or infinite"
        told.append(said)
    if not traces:
        return None
    layout = {
        "xaxis": {"title": {"text": "step"}},
        "yaxis": {"rangemode": "tozero"},
    }
    told.append("steps of training and evaluation counted together")
    return Figure("Loss by saved step", f"{'; '.join(told)}.", traces, layout, 300)
