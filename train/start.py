"""What a run starts from: its network, published or earlier weights, and its own checkpoints."""

from typing import Any

from torch import nn

from artifact import network as networks
from artifact.preprocess import Preprocessing
from container.opt_ml import Job
from train import handover, incremental, pretrained
from train.checkpoint import Store
from train.distributed import Team
from train.hyperparameters import Hyperparameters
from train.interruption import Interruption
from train.progress import say

NOT_IDENTITY = (
    "evaluation_batch_size", "num_workers", "log_interval", "strict", "debug_save_interval",
    "debug_eval_save_interval", "debug_collections", "debug_include_regex", "debug_reductions",
    "debug_histograms", "debug_budget", "profile", "profiler_interval_ms", "rules", "rule_action",
    "bad_file_limit", "data_policy", "test_fraction", "checkpoint_minutes", "stall_seconds",
)  # fmt: skip
"""Hyperparameters that change nothing in the weights: a run continues across them."""


def network(chosen: Hyperparameters, labels: list[str]) -> nn.Module:
    """With random weights; of a frozen backbone only the head will learn."""
    made = networks.build(chosen.network, len(labels), chosen.hidden_units, chosen.image_size)
    if chosen.fine_tune == "head":
        made.requires_grad_(False)
        networks.head(made).requires_grad_(True)
    return made


def weights(
    network: nn.Module,
    job: Job,
    chosen: Hyperparameters,
    preprocessing: Preprocessing,
    labels: list[str],
    interruption: Interruption,
    team: Team,
) -> None:
    """Those of the `model` or `pretrained` channel, or published ones, into the network. Only the
    leader reads them: other hosts need not have them."""
    if team.leads:
        earlier = job.channels.get(incremental.CHANNEL)
        if earlier is not None:
            incremental.load(network, chosen, preprocessing, earlier, labels, say)
        else:
            _published(network, job, chosen, labels, interruption)
    handover.weights(team, network)


def _published(
    network: nn.Module,
    job: Job,
    chosen: Hyperparameters,
    labels: list[str],
    interruption: Interruption,
) -> None:
    channel = job.channels.get("pretrained")
    if chosen.pretrained:
        with interruption.unprotected():  # a download may take minutes
            pretrained.load(network, chosen.network, channel, labels, say)
        return
    if channel is not None:
        say("warning: pretrained=false, so the pretrained channel is not read")
    if chosen.fine_tune == "head":
        say("warning: the backbone is random and frozen (pretrained=false, fine_tune=head); "
            "set fine_tune=all to train it")  # fmt: skip


def store(job: Job, chosen: Hyperparameters, labels: list[str], data: str, backbone: str) -> Store:
    """The checkpoints of this very run: of what was asked for, not of what `auto` found. `data` and
    `backbone` are the same for the same photos and frozen weights."""
    identity: dict[str, Any] = {
        name: value for name, value in chosen.as_written().items() if name not in NOT_IDENTITY
    }
    identity |= {"labels": labels, "data": data, "backbone": backbone}
    identity |= incremental.identity(job.channels)
    paths = job.paths
    return Store(paths.checkpoints, identity, say, paths.output / ".checkpoints", job.name)
