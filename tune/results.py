"""What a search leaves: the page, the table, the best hyperparameters, the best model."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna

from artifact import archive
from container import failure, opt_ml
from container.failure import InterruptedFailure
from container.opt_ml import Paths
from tune import journal, page, sampling
from tune.keep import MODEL
from tune.search import DONE, Search
from tune.spec import Specification
from tune.trial import Trial

PAGE, TABLE, BEST, FINAL = "tuning.html", "trials.csv", "hyperparameters.json", "final"
EVERYTHING = {
    "train_fraction": "1", "validation_fraction": "1", "test_fraction": "1",
    "train_on_validation": "true",
}  # fmt: skip


def write(folder: Path, study: optuna.Study, spec: Specification) -> None:
    """Page, table and best hyperparameters, as they are by now."""
    rows = page.table(study, spec)
    best = next((row for row in rows if row["state"] == "complete" and not row["parent"]), None)
    chosen: dict[str, str] = {}
    if best is not None:
        params = study.get_trials(deepcopy=False)[best["trial"]].params
        chosen = {**spec.fixed, **sampling.written(params, spec)}
        _replace(folder / BEST, json.dumps(chosen, indent=1) + "\n")
    text = io.StringIO()
    if rows:
        table = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    _replace(folder / TABLE, text.getvalue())
    _replace(folder / PAGE, page.document(study, spec, rows, chosen))


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def finish(search: Search, paths: Paths, spec: Specification, retrain: bool) -> None:
    """The best model into its place. Raises Failure where there is none."""
    write(search.folder, search.study, spec)
    for line in _lines(page.table(search.study, spec)):
        search.say(line)
    if not search.ranked:
        raise _without_model(search)
    best = search.ranked[0]
    source = search.trial_folder(best.number)
    search.say(f"best: trial {best.number}, {spec.objective.name}={best.value:.6g}")
    if retrain and not search.stopping.is_set():
        source = _retrained(search, spec)
    with archive.staging(paths.model) as staged:
        shutil.copytree(source / MODEL, staged, copy_function=shutil.copyfile, dirs_exist_ok=True)
        archive.publish(staged, paths.model)
    _compile(search, paths)
    if search.left > 0 and search.stopping.is_set():
        search.say(f"{search.left} trials are left; the same command goes on")
    search.say(f"best hyperparameters: {search.folder / BEST}")
    search.say(f"page: {search.folder / PAGE}")
    search.say(f"report: {source / 'output' / 'data' / 'report.html'}")
    search.say(f"artifact: {paths.model / archive.DESCRIPTION}")


def _compile(search: Search, paths: Paths) -> None:
    """The compiled engine, which trials do without: of the one model that is left."""
    if search.stopping.is_set():
        search.say("compiled engine: none, the search was stopped; `export` makes one")
        return
    command = [sys.executable, "-P", "-m", "train.compiled.add", "--auto"]
    done = subprocess.run(
        command, env={**os.environ, opt_ml.BASE_DIR: str(paths.root)}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, check=False,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        search.say(line)
    if done.returncode:
        search.say("warning: the best model has no compiled engine, torch will serve it")


def _retrained(search: Search, spec: Specification) -> Path:
    """The folder of one more job, with the best hyperparameters on all photos."""
    chosen = json.loads((search.folder / BEST).read_text(encoding="utf-8"))
    job = Trial(search.folder / FINAL, search.base, f"{search.base.name}-{FINAL}")
    job.prepare({**chosen, **EVERYTHING}, spec.objective.name)
    search.say("the best hyperparameters once more, on all photos")
    outcome = search.run_alone(job)
    if outcome.state != "complete":
        raise failure.read("the last training", outcome.reason)
    return job.folder


def _without_model(search: Search) -> failure.Failure:
    done = search.own(*DONE)
    if search.stopping.is_set() and not done:
        return InterruptedFailure("the search was stopped before a trial was complete")
    reasons = [trial.user_attrs["reason"] for trial in done if "reason" in trial.user_attrs]
    if not reasons:
        return InterruptedFailure("the search was stopped before a trial was complete")
    made = failure.read(f"no trial of {len(done)} is complete; the last", reasons[-1])
    made.fix = f"look at the trials' logs in {search.folder}; {made.fix}"
    return made


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    """The table in columns."""
    if not rows:
        return []
    heads = [name for name in rows[0] if name not in ("reason", journal.PARENT)]
    cells = [heads, *([page.text(row[name]) for name in heads] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(heads))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in cells]  # fmt: skip
