"""tuning.html: every trial, what was best, and how the objective follows the values; one file."""

import html
import json
from typing import Any

import optuna
import plotly.io
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import StudyDirection
from optuna.trial import TrialState
from optuna.visualization import (
    plot_contour,
    plot_optimization_history,
    plot_parallel_coordinate,
    plot_param_importances,
)

from tune import journal, sampling
from tune.spec import Specification

PRIVATE = {"showSendToCloud": False, "plotlyServerURL": ""}
"""plotly.js has a button that sends a plot to its maker's servers."""
CONTOURS = 3
"""Parameters of the contour plot, the most important ones: all pairs of ten are forty-five."""
HEAD = (
    "<!doctype html><html lang=en><meta charset=utf-8>"
    '<meta name=viewport content="width=device-width, initial-scale=1">'
    "<title>Hyperparameter search</title><style>"
    "body{font:15px system-ui,sans-serif;margin:0 auto;max-width:1100px;padding:1rem;color:#1c2733}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;text-align:right;"
    "border-bottom:1px solid #dde3ea}th:first-child,td:first-child{text-align:left}"
    ".wide{overflow-x:auto}.best{background:#e8f3ea}pre{background:#f4f6f8;padding:1rem}"
    "</style>"
)


def table(study: optuna.Study, spec: Specification) -> list[dict[str, Any]]:
    """A row per trial, the best first, those without a value last."""
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
    name = spec.objective.name
    rows = []
    for trial in study.get_trials(deepcopy=False):
        if trial.params.keys() != sampling.distributions(spec).keys():
            continue  # not begun
        rows.append({
            "trial": trial.number,
            "state": trial.state.name.lower(),
            name: trial.value,
            **sampling.written(trial.params, spec),
            "seconds": trial.user_attrs.get("seconds"),
            "parent": trial.user_attrs.get(journal.PARENT, ""),
            "reason": trial.user_attrs.get("reason", ""),
        })  # fmt: skip
    return sorted(rows, key=lambda row: (row[name] is None, sign * (row[name] or 0), row["trial"]))


def document(
    study: optuna.Study, spec: Specification, rows: list[dict[str, Any]], best: dict[str, str]
) -> str:
    """The whole page; it needs no network."""
    parts = [HEAD, "<h1>Hyperparameter search</h1>", _summary(rows, spec)]
    if best:
        parts.append(
            f"<h2>Best hyperparameters</h2><pre>{html.escape(json.dumps(best, indent=1))}</pre>"
        )
    parts += [f"<h2>{title}</h2>{figure}" for title, figure in _figures(study, spec)]
    parts += ["<h2>Trials</h2>", _table(rows)]
    return "".join(parts)


def _summary(rows: list[dict[str, Any]], spec: Specification) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    said = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    way = "largest" if spec.objective.maximize else "smallest"
    return (
        f"<p>{html.escape(spec.strategy)} search for the {way} "
        f"<b>{html.escape(spec.objective.name)}</b>; trials: {said}.</p>"
    )


def _figures(study: optuna.Study, spec: Specification) -> list[tuple[str, str]]:
    """Those that the finished trials are enough for; the first one carries the script."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        return []
    label = spec.objective.name
    figures = [("History", plot_optimization_history(study, target_name=label))]
    varied = [key for key in sampling.distributions(spec)
              if len({str(trial.params.get(key)) for trial in complete}) > 1]  # fmt: skip
    if varied:
        figures.append(
            ("Parallel coordinates", plot_parallel_coordinate(study, varied, target_name=label))
        )
    if len(varied) > 1 and len({trial.value for trial in complete}) > 1:
        evaluator = PedAnovaImportanceEvaluator()
        importances = optuna.importance.get_param_importances(
            study, evaluator=evaluator, params=varied
        )
        figures.append((
            "Importances",
            plot_param_importances(study, evaluator, varied, target_name=label),
        ))  # fmt: skip
        most = list(importances)[:CONTOURS]
        figures.append(("Contour", plot_contour(study, most, target_name=label)))
    return [
        (
            title,
            plotly.io.to_html(figure, full_html=False, include_plotlyjs=at == 0, config=PRIVATE),
        )
        for at, (title, figure) in enumerate(figures)
    ]


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
    body = "".join(
        f'<tr class="{"best" if at == 0 else ""}">'
        + "".join(f"<td>{html.escape(text(value))}</td>" for value in row.values())
        + "</tr>"
        for at, row in enumerate(rows)
    )
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
