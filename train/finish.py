"""The end of a run: final evaluation, artifact, numbers and pictures."""

from dataclasses import asdict
from typing import Any

from artifact import archive
from artifact.archive import Description
from train import export, report
from train.evaluate import Evaluation, StopRequestedError
from train.progress import say
from train.training import Training


def finish(run: Training) -> None:
    """The best weights, evaluated, written and checked; pictures beside them."""
    if run.best is not None:
        run.network.load_state_dict(run.best, strict=True)
    evaluation, split = _final_evaluation(run)
    run.hook.close()
    description = _describe(run, evaluation, split)
    files = export.export(run.network, description, run.job.paths.model)
    if not run.state.interrupted:
        report.write(
            run.job.paths.output_data,
            run.state.history,
            run.state.best_epoch,
            run.splits.train,
            run.labels,
            evaluation,
            split,
        )
    sizes = ", ".join(f"{name} {facts['bytes']:,} bytes" for name, facts in files.items())
    say(f"artifact: {run.job.paths.model / archive.DESCRIPTION}, {sizes}")


def _final_evaluation(run: Training) -> tuple[Evaluation | None, str]:
    split = "validation" if run.splits.test is None else "test"
    if run.state.interrupted:
        return None, split
    try:
        evaluation = run.evaluate_on(run.loaders.test)
    except StopRequestedError:
        run.state.interrupted = True
        return None, split
    # published tuning jobs look for these two lines
    say(f"Testing Loss: {evaluation.loss:.4f}")
    say(f"Testing Accuracy: {evaluation.top1_accuracy:.4f}")
    return evaluation, split


def _describe(run: Training, evaluation: Evaluation | None, split: str) -> Description:
    state = run.state
    metrics: dict[str, Any] = {"best_epoch": state.best} if state.best else {}
    if evaluation is not None:
        metrics[split] = {"images": evaluation.images, **evaluation.metrics()}
    return Description(
        network=run.chosen.network,
        labels=run.labels,
        preprocessing=run.preprocessing,
        hidden_units=run.chosen.hidden_units,
        metrics=metrics,
        training={
            "job": run.job.name,
            "interrupted": state.interrupted,
            "final_evaluation": "skipped" if evaluation is None else split,
            "epochs_completed": len(state.history),
            "steps": state.step,
            "best_epoch": state.best_epoch,
            "train_images": len(run.splits.train),
        },
        hyperparameters=asdict(run.chosen),
        versions=export.versions(),
    )
