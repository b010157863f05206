"""One job from its channels to its artifact: what is done in which order."""

from artifact import archive
from artifact import network as networks
from container.failure import HyperparameterError
from container.opt_ml import Job
from debugger.rules import asked
from train import distributed, hyperparameters, incremental, photos
from train.finish import finish
from train.gathered import Gathered
from train.hyperparameters import Hyperparameters
from train.interruption import Interruption
from train.progress import say
from train.schema import nearest
from train.training import Training
from train.watchdog import Watchdog


def run(job: Job, interruption: Interruption) -> None:
    """Raises Failure for whatever ends the job without a model."""
    chosen = read_hyperparameters(job)
    incremental.check(job.inputs)
    team = distributed.join()
    if team.leads:
        with archive.staging(job.paths.model):
            pass  # a model folder that cannot be written is known now, not after hours
    gathered = Gathered(team, job)
    with _watchdog(job, chosen).watching("listing and checking the photos", by_work=True):
        splits = photos.read_splits(job, chosen, gathered)
    training = Training(job, chosen, splits, interruption, gathered)
    try:
        training.fit()
        finish(training)
    except BaseException:  # what rules have seen of a job that fails is worth the most
        training.failed()
        raise
    team.leave()


def _watchdog(job: Job, chosen: Hyperparameters) -> Watchdog:
    """Until there is a network, and nothing to rescue."""
    output, seconds = job.paths.output, chosen.stall_seconds
    return Watchdog(output, seconds, lambda: "", lambda: None, distributed.waiting)


def _check_rules(chosen: Hyperparameters) -> None:
    """Raises HyperparameterError with all that is wrong with the rules asked for."""
    try:
        asked.parse(chosen.rules, chosen.rule_action)
    except asked.RuleRequestError as error:
        raise HyperparameterError(
            f"rules: {error}", "name rules as docs/diagnose.md has them"
        ) from error


def read_hyperparameters(job: Job) -> Hyperparameters:
    chosen, warnings = hyperparameters.parse(job.hyperparameters)
    for warning in warnings:
        say(f"warning: {warning}")
    _check_rules(chosen)
    known = networks.names()
    if chosen.network not in known:
        near = nearest(chosen.network, known)
        raise HyperparameterError(
            f"network={chosen.network!r}: no such network{near}",
            f"one of {networks.SMALL_CNN}, resnet50, ... (torchvision's classification networks)",
        )
    try:
        alone = chosen.fine_tune == "all" and chosen.batch_size == 1
        networks.check(
            chosen.network, 2, chosen.hidden_units, chosen.image_size, train_on_one=alone
        )
    except networks.NetworkError as error:
        raise HyperparameterError(str(error), "change image_size, batch_size or network") from error
    say("hyperparameters:")
    for name, value in chosen.as_written().items():
        say(f"  {name}={value}")
    return chosen
