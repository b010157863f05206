"""The Debugger's hook in a training job: what it is asked for, and its own passes over photos.

Where a head trains on kept features the backbone does not run. Then a step that is saved sends its
photos through the whole network for the hook alone, so that rules see what they would without
the features: the photos of the micro-batch that would come first, in the view whose features are
trained on.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from container.opt_ml import Job
from debugger import beside
from debugger import hook as debug
from debugger.rules import asked
from train import loop
from train.batches import Batches, Loader, MicroBatch
from train.distributed import Team
from train.features.batches import FeatureBatches
from train.hyperparameters import Hyperparameters
from train.loaders import Loaders
from train.progress import say
from train.schedule import Spec


def hook(
    job: Job, chosen: Hyperparameters, team: Team, resumed: bool, spent: Callable[[float], None]
) -> debug.Hook:
    """By the platform's configuration, else by hyperparameters; usually none. `spent` is told the
    seconds that it takes of the training thread."""
    if job.debugger_off:
        return debug.NoHook()
    paths = job.paths
    cost = paths.output_data / "debugger.json"
    place = debug.Place(
        paths.tensors, job.tensorboard, cost, team.rank, team.local_rank == 0, resumed, spent
    )
    ruled = asked.parse(chosen.rules, chosen.rule_action)
    wished = debug.asked(
        paths.tensors,
        job.tensorboard,
        interval=chosen.debug_save_interval,
        eval_interval=chosen.debug_eval_save_interval,
        collections=chosen.debug_collections,
        reductions=chosen.debug_reductions,
        patterns=chosen.debug_include_regex,
        histograms=chosen.debug_histograms,
        rules=ruled,
    )
    leader_says: Callable[[str], None] = say if team.leads else lambda line: None
    settings = debug.configured(
        job.debug_hook_config, place, wished, leader_says,
        exports=job.tensorboard_collected, rules=ruled,
    )  # fmt: skip
    return debug.create(settings, place, chosen.debug_budget, leader_says)


def rules(
    job: Job, chosen: Hyperparameters, team: Team, watched: debug.Hook, labels: list[str]
) -> beside.Rules:
    """A process beside the leader that looks at what its hook saves; usually none."""
    if not team.leads:
        return beside.NoRules()
    return beside.start(
        asked.parse(chosen.rules, chosen.rule_action),
        watched.folder,
        job.paths.output_data,
        chosen.as_written(),
        labels,
        say,
    )


def evaluation_batches(photos: Batches) -> int:
    """Mini-batches of an evaluation of photos; features come in larger ones."""
    assert isinstance(photos, Loader)
    return max(1, sum(1 for _ in photos.share.in_order(photos.micro)))


class Whole:
    """Passes over photos that leave no trace in the training."""

    def __init__(
        self,
        network: nn.Module,
        photos: Loaders,
        features: Loaders,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.network, self.photos, self.features = network, photos, features
        self.device, self.autocast = device, autocast

    def update(self, epoch: int, step: int) -> None:
        """The first micro-batch of an update, as it would be without features."""
        photos, features = self.photos.train, self.features.train
        assert isinstance(photos, Loader)
        assert isinstance(features, FeatureBatches)
        specs = photos.share.epoch(photos.batch_size, photos.micro, photos.photos.seed, epoch)
        views = features.views(epoch)
        self._send(photos, next(_seen(photos, spec, views) for spec in specs if spec.step == step))

    def evaluation(self, photos: Batches) -> None:
        assert isinstance(photos, Loader)
        self.network.eval()  # as the evaluation that follows has it
        spec = next(photos.share.in_order(photos.micro), None)
        if spec is not None:
            self._send(photos, photos.photos[spec])

    def _send(self, photos: Loader, batch: MicroBatch) -> None:
        if not len(batch.targets):
            return
        begun = loop.remember(self.network, self.device)
        try:
            with torch.no_grad(), self.autocast():
                self.network(photos.prepare(batch.inputs.to(self.device)))
        finally:
            loop.undo(begun)


def _seen(photos: Loader, spec: Spec, views: NDArray[np.int64]) -> MicroBatch:
    """Each photo in the view that its features are of."""
    parts = [
        photos.photos[replace(spec, view=int(views[at]), positions=np.array([at]))]
        for at in spec.positions
    ]
    return replace(
        parts[0],
        inputs=torch.cat([each.inputs for each in parts]),
        targets=torch.cat([each.targets for each in parts]),
    )
