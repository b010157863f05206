"""Rules beside a running training: a process of its own, which the training step never waits for.

Started by `debugger/beside.py`. Standard input brings one request and, by its end, the news that
training is over or dead; standard output takes answers, one JSON object a line:

    {"kind": "fired", "rule", "action", "step", "verdict"}       the first fire of a rule
    {"kind": "ended", "verdicts", "cpu_seconds", "steps"}        after the last step
    {"kind": "failed", "words"}                                  nothing more will come

It has the lowest priority, one thread, and pauses after each step, so that it computes for at most
SHARE of the time while training runs.
"""

import json
import os
import select
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

from debugger.plain import plain

SHARE = 0.05
"""Of one processor, while training runs."""
POLL_SECONDS = 1.0
"""Between two looks at the folder."""


def main() -> int:
    os.nice(19)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what rules print is no answer
    request = json.loads(os.fdopen(os.dup(0), "rb", buffering=0).readline())
    try:
        with tempfile.TemporaryDirectory(prefix="rules-") as scratch:
            _run(request, answers, Path(scratch))
    except BrokenPipeError:
        return 0  # training is dead: nobody listens
    except Exception as error:
        _answer(answers, {"kind": "failed", "words": f"{type(error).__name__}: {error}"})
        return 1
    return 0


def _run(request: dict[str, Any], answers: TextIO, scratch: Path) -> None:
    from debugger import evidence, fetch, tensors, walk
    from debugger.rules.asked import Asked
    from debugger.verdict import Verdict

    folder = Path(request["tensors"])
    rules = [Asked(each["name"], each["parameters"], each["action"]) for each in request["rules"]]
    known = evidence.Evidence(
        hyperparameters=request["hyperparameters"], model={"labels": request["labels"]}
    )

    def fired(asked: Asked, step: int, verdict: Verdict) -> None:
        _answer(answers, {
            "kind": "fired", "rule": asked.short, "action": asked.action, "step": step,
            "verdict": plain(verdict.as_dict()),
        })  # fmt: skip

    bring = fetch.others(scratch, lambda words: print(words, flush=True))
    made: walk.Walk | None = None
    over = False
    while True:
        began = time.process_time()
        if made is None and any(folder.glob("collections/*/worker_*_collections.json")):
            trial = tensors.Tensors(folder, finished=over)
            made = walk.Walk(trial, rules, known, strict=False, bring=bring)
        if made is not None:
            made.trial.update(over)
            made.on(fired, None if over else _pause)
            made.waited(fired)
        if over:
            break
        spent = time.process_time() - began
        over = _ended(max(POLL_SECONDS, spent / SHARE - spent))
    if made is None:
        made = walk.Walk(tensors.Nothing(folder), rules, known, strict=False, bring=bring)
    left = evidence.find(Path(request["output"]))
    for running in made.running:
        if running.rule is None:
            continue
        running.rule.evidence = evidence.Evidence(
            metrics=left.metrics, doctor=left.doctor, failure=left.failure,
            hyperparameters=known.hyperparameters, model=known.model,
        )  # fmt: skip
    verdicts = [plain(each.as_dict()) for each in made.verdicts()]
    _answer(answers, {
        "kind": "ended", "verdicts": verdicts, "cpu_seconds": time.process_time(),
        "steps": len(made.trial.steps()),
    })  # fmt: skip


def _pause(spent: float) -> bool:
    """After a step of the walk that took so many seconds; returns whether training is over."""
    return _ended(spent / SHARE - spent)


def _ended(seconds: float) -> bool:
    """Waits, or until standard input is closed."""
    ready, _, _ = select.select([0], [], [], max(0.0, seconds))
    return bool(ready) and os.read(0, 1) == b""


def _answer(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
