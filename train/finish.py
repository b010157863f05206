"""The end of a run: final evaluation, artifact, numbers and pictures."""

import traceback
from typing import Any

from artifact import archive
from artifact.archive import Description
from debugger import afterwards
from pages.document import Section
from pages.markup import Html, paragraph
from train import export, loop
from train.answers import Answers
from train.calibration import Calibration, calibrate
from train.compiled import of_job
from train.doctor import page as doctor
from train.evaluate import Evaluation, StopRequestedError
from train.progress import say
from train.report import environment, write
from train.report.results import Results
from train.training import Training


def finish(run: Training) -> None:
    """The best weights, evaluated, written and checked; pictures beside them."""
    if run.best is not None:
        run.trained.load_state_dict(run.best, strict=True)
    else:  # stopped in the first epoch
        run.average.exchange()
    with run.watchdog.watching("the final evaluation"):
        evaluation, split, answers = _final_evaluation(run)
        calibration = _calibrate(run, split, answers)
    skipped = ["final_evaluation"] if evaluation is None else []
    if calibration is None and run.state.interrupted and _calibrates(run):
        skipped.append("calibration")
    run.hook.close()
    run.rules.close(hurry=run.state.interrupted)
    run.profiler.close()
    if run.scalars is None:
        return  # what all processes have learned, the leader writes
    run.scalars.close()
    description = _describe(run, evaluation, split)
    if calibration is not None:
        description.temperature = calibration.fit.temperature
        description.metrics["calibration"] = calibration.as_dict()
    files = export.export(
        run.network, description, run.job.paths.model, of_job.compiler(run, answers),
        lambda: _note_stop(run, description, skipped),
    )  # fmt: skip
    if evaluation is not None and "report" not in skipped:
        _report(run, evaluation, split, answers, calibration, description.compiled)
    sizes = ", ".join(f"{name} {facts['bytes']:,} bytes" for name, facts in files.items())
    say(f"artifact: {run.job.paths.model / archive.DESCRIPTION}, {sizes}")
    if run.hook.folder is not None and not run.state.interrupted:
        with run.watchdog.watching("the report of the rules"):
            afterwards.report(run.job.paths.root, run.job.paths.output_data, say, run.should_stop)


def _note_stop(run: Training, description: Description, skipped: list[str]) -> None:
    """The model is ready: what a stop leaves out is settled, and goes into its description."""
    run.state.interrupted = run.state.interrupted or run.should_stop()
    if run.state.interrupted:
        if not description.compiled and not of_job.unwanted(run):
            skipped.append("compiled_engine")
        skipped.append("report")
        say(f"skipped, since the job is to stop: {', '.join(skipped)}")
    description.training |= {"interrupted": run.state.interrupted, "skipped": skipped}


def _final_evaluation(run: Training) -> tuple[Evaluation | None, str, Answers]:
    split = "validation" if run.splits.test is None else "test"
    answers = Answers(len(run.loaders.test.index), len(run.labels))
    if run.state.interrupted:
        return None, split, answers
    try:
        with run.watchdog.watching():
            evaluation = run.evaluate_on(run.loaders.test, answers)
    except StopRequestedError:
        run.state.interrupted = True
        return None, split, answers
    if run.team.leads:
        # published tuning jobs look for these two lines
        say(f"Testing Loss: {evaluation.loss:.4f}")
        say(f"Testing Accuracy: {evaluation.top1_accuracy:.4f}")
        if evaluation.several:
            precision = evaluation.several.metrics()["mean_average_precision"]
            say(f"Testing Mean Average Precision: {precision:.4f}")
    return evaluation, split, answers


def _calibrate(run: Training, split: str, answers: Answers) -> Calibration | None:
    """None where the job is stopped before validation photos have been answered; then, as where
    there is nothing to fit to, its probabilities are served as they are."""
    if run.state.interrupted or not len(answers) or not _calibrates(run):
        return None
    if split == "validation":
        made = calibrate(answers.rows, {})
    else:
        validation = Answers(len(run.loaders.validation.index), len(run.labels))
        try:
            with run.watchdog.watching():
                run.evaluate_on(run.loaders.validation, validation)
        except StopRequestedError:
            run.state.interrupted = True
            return None
        made = calibrate(validation.rows, {split: answers.rows})
    before, after = made.before[split], made.after[split]
    say(f"temperature: {made.fit.temperature:.4g} ({made.fit.note}); calibration error (ECE) on "
        f"{split} {before.ece:.4f} -> {after.ece:.4f}")  # fmt: skip
    return made


def _calibrates(run: Training) -> bool:
    """Not where photos have several labels, nor where validation photos have been learned, of which
    the network is too sure."""
    return not (run.splits.train.multi_label or run.chosen.train_on_validation)


def _report(
    run: Training,
    evaluation: Evaluation,
    split: str,
    answers: Answers,
    calibration: Calibration | None,
    compiled: dict[str, Any],
) -> None:
    """The model is in place by now: a defect here costs the report, not the job."""
    results = Results(
        job=run.job.name,
        chosen=run.chosen,
        splits=run.splits,
        counts=run.counts,
        images=run.images,
        history=run.state.history,
        best_epoch=run.state.best_epoch,
        split=split,
        evaluation=evaluation,
        answers=answers,
        calibration=calibration,
        thresholds=run.thresholds,
        bad_files=run.bad_files,
        environment=environment.describe(run.job.name, run.device, run.dtype),
        compiled=compiled,
    )
    seen = run.splits.findings
    ended = run.state.found.get(loop.ENDED_BY)
    try:
        early = [Section("Ended early", paragraph(f"{ended}."))] if ended else []
        findings = early + [Section("Photos looked at", Html(doctor.section(seen)))] if seen else []
        write.write(run.job.paths.output_data, results, findings)
    except (OSError, MemoryError):
        raise  # a full volume has a reason of its own
    except Exception:
        say(f"warning: the report is not complete:\n{traceback.format_exc()}")


def _describe(run: Training, evaluation: Evaluation | None, split: str) -> Description:
    state = run.state
    metrics: dict[str, Any] = {"best_epoch": state.best} if state.best else {}
    if state.images:  # stopped in an epoch: the last that is known
        metrics["unfinished_epoch"] = {
            "images": state.images,
            "train_loss": state.loss_sum / state.images,
            "train_top1_accuracy": state.right / state.images,
        }
    if evaluation is not None:
        metrics[split] = {"images": evaluation.images, **evaluation.metrics()}
    return Description(
        network=run.chosen.network,
        labels=run.labels,
        preprocessing=run.preprocessing,
        hidden_units=run.chosen.hidden_units,
        multi_label=run.splits.train.multi_label,
        thresholds=run.thresholds,
        test_time_flip=run.chosen.test_time_flip,
        metrics=metrics,
        training={
            "job": run.job.name,
            "final_evaluation": "skipped" if evaluation is None else split,
            "epochs_completed": len(state.history),
            "steps": state.step,
            "best_epoch": state.best_epoch,
            "ended_by": state.found.get(loop.ENDED_BY, ""),
            "train_images": run.train_images,
        },
        hyperparameters=run.chosen.as_written(),
        versions=export.versions(),
    )
