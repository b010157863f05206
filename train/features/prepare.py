"""Before a head is trained: the features of every photo are found in the store, or computed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from artifact.preprocess import Preprocessing
from container.opt_ml import Paths
from train import device as devices
from train.evaluate import StopRequestedError
from train.features import engines, photo_ids, places, store, tail
from train.features.batches import FeatureBatches
from train.features.engines import Fitting, Plan, UnfitError
from train.features.extract import extract
from train.features.peers import Peers, agreed
from train.features.photo_ids import Ids
from train.features.store import Store, StoreError
from train.gathered import Gathered
from train.hyperparameters import Hyperparameters
from train.index import Index
from train.loaders import Loaders
from train.progress import Bar, say


@dataclass(frozen=True)
class Request:
    """What features are asked of, and whom to tell."""

    network: nn.Module
    digest: str
    """Of the backbone's weights."""
    chosen: Hyperparameters
    preprocessing: Preprocessing
    device: torch.device
    dtype: torch.dtype
    loaders: Loaders
    paths: Paths
    gathered: Gathered
    should_stop: Callable[[], bool]
    bad_files_seen: Callable[[Index, list[str]], None]


@dataclass
class Split:
    """The photos of one split in all their views."""

    index: Index
    peers: Peers
    augmentation: str
    ids: list[Ids]
    """One per view."""
    bad: dict[int, str] = field(default_factory=dict)
    """Position -> why the photo cannot be used."""


def prepare(request: Request, training: bool) -> Loaders | None:
    """Batches of features in the photos' place: of the train split only where `training` is left
    to do. None where they cannot be kept. Raises StopRequestedError, which says what becomes of
    what was computed."""
    chosen, loaders = request.chosen, request.loaders
    flops = devices.forward_flops(chosen.network, chosen.image_size)
    shape = tail.shape(chosen.network, chosen.image_size)
    try:
        splits = _splits(request, training)
        for plan in _plans(request, flops):
            try:
                made = _batches(request, plan, shape, splits)
            except UnfitError as error:
                say(f"note: {plan.engine} computes no features of {chosen.network}: {error}")
                continue
            return Loaders(
                **{"train": loaders.train, **made},
                photos=loaders.photos,
                processes=loaders.processes,
            )
    except StoreError as error:
        say(f"warning: no features are kept, every epoch computes them anew: {error}")
    return None


def _plans(request: Request, flops: int) -> list[Plan]:
    """Those of every process: rows of two kinds of arithmetic would be two networks'."""
    own = engines.plans(request.device, request.dtype, flops)
    known = [set(names) for names in request.gathered.team.gather([plan.name for plan in own])]
    plans = [plan for plan in own if all(plan.name in names for names in known)]
    if not plans:
        raise StoreError("the hosts' processors compute in different ways")
    return plans


def _splits(request: Request, training: bool) -> dict[str, Split]:
    chosen, loaders = request.chosen, request.loaders
    # calibration asks for the validation photos even where no training is left to do
    given = {
        "test": (loaders.test.index, "none", 1),
        "validation": (loaders.validation.index, "none", 1),
    }
    if training:
        augmentation = chosen.resolved_augmentation
        given["train"] = (loaders.train.index, augmentation, chosen.resolved_views)
    splits: dict[str, Split] = {}
    for name, (index, augmentation, views) in given.items():
        same = next((split for split in splits.values() if split.index is index), None)
        if same is not None and augmentation == "none":
            splits[name] = same  # without a test split the validation photos are both
            continue
        peers = Peers(request.gathered, index)
        own = index.take(peers.part(np.arange(len(index))))
        bar = Bar(f"hashing {index.channel}", len(own))
        hashed = agreed(request.gathered.team, photo_ids.of, own, bar.advance, request.should_stop)
        bar.close()
        ids = np.concatenate(peers.arrays(hashed))
        changed = [photo_ids.of_view(ids, augmentation, view) for view in range(views)]
        splits[name] = Split(index, peers, augmentation, changed)
    return splits


def _batches(
    request: Request, plan: Plan, shape: tuple[int, ...], splits: dict[str, Split]
) -> dict[str, FeatureBatches]:
    team = request.gathered.team
    own = places.private() if team.local_rank == 0 else None
    said = team.gather([team.host, None if own is None else str(own)])
    private = next((Path(path) for host, path in said if host == team.host and path), None)
    kept = agreed(team, _open, request, plan, shape, splits, private)
    try:
        computed, seconds = _compute(request, plan, kept, splits)
    except StopRequestedError:
        raise StopRequestedError(
            "the features computed so far end with the job: no lasting folder could be used"
            if kept.root == private
            else f"the features computed so far are kept in {kept.folder}"
        ) from None
    finally:
        kept.close()
    rows = kept.rows()
    total = sum(map(len, _every(splits)))
    size = "x".join(map(str, shape))
    took = f" in {seconds:.1f} s" if computed else ""
    say(f"features: {total} rows of {size} numbers, {computed} computed{took}, "
        f"kept in {kept.folder}")  # fmt: skip
    made = {}
    for name, split in splits.items():
        found = np.stack([rows.find(ids) for ids in split.ids])
        lost = set(np.flatnonzero((found < 0).any(0)).tolist()) - split.bad.keys()
        agreed(team, _refuse, lost, kept)
        made[name] = FeatureBatches(
            split.index, rows, found, split.bad, getattr(torch, plan.dtype),
            request.chosen.batch_size, request.chosen.seed, split.peers.share,
        )  # fmt: skip
    return made


def _refuse(lost: set[int], kept: Store) -> None:
    if lost:
        raise StoreError(f"{len(lost)} rows have vanished from {kept.folder}")


def _distinct(splits: dict[str, Split]) -> list[Split]:
    """Without a test split the validation photos are in two roles."""
    return list({id(split): split for split in splits.values()}.values())


def _every(splits: dict[str, Split]) -> list[Ids]:
    return [ids for split in _distinct(splits) for ids in split.ids]


def _open(
    request: Request,
    plan: Plan,
    shape: tuple[int, ...],
    splits: dict[str, Split],
    private: Path | None,
) -> Store:
    """The store in the best folder that has room for what is missing. Raises StoreError."""
    record = store.record(plan.dtype, shape)
    key = {
        "network": request.chosen.network,
        "weights": request.digest,
        "preprocessing": request.preprocessing.as_dict(),
        "engine": plan.name,
    }
    every = _every(splits)
    reasons = []
    # the platform uploads the checkpoints of every host to one place: the leader's host is enough
    checkpoints = request.paths.checkpoints if request.gathered.team.host == 0 else None
    outside = request.paths.output / f".{places.FOLDER}"
    for root in places.roots(checkpoints, private, sum(map(len, every)) * record.itemsize):
        uploaded = root.parent == checkpoints
        kept = Store(root, key, record, say, request.should_stop, outside if uploaded else None)
        try:
            kept.open()
            rows = kept.rows()
            missing = sum(int((rows.find(ids) < 0).sum()) for ids in every)
            kept.make_room(missing * record.itemsize)
        except StoreError as error:
            kept.close()
            reasons.append(str(error))
            continue
        return kept
    raise StoreError("; ".join(reasons) or "there is no folder that can be written")


def _compute(
    request: Request, plan: Plan, kept: Store, splits: dict[str, Split]
) -> tuple[int, float]:
    """How many rows were missing and this process has computed, and the seconds that they took."""
    team, started = request.gathered.team, time.monotonic()
    every = [
        (split, view, ids) for split in _distinct(splits) for view, ids in enumerate(split.ids)
    ]
    wanted = [(split, view, split.peers.missing(ids, kept)) for split, view, ids in every]
    parts = [(split, view, split.peers.part(positions)) for split, view, positions in wanted]
    missing = sum(len(positions) for _, _, positions in wanted)
    if missing:
        size = missing * kept.record.itemsize / 1e6
        say(
            f"features: {missing} rows to compute by {plan.name}, {size:.1f} MB, into {kept.folder}"
        )
    computed = agreed(team, _extract, request, plan, kept, parts)
    for split in _distinct(splits):
        for lines in split.peers.values(list(split.bad.items())):
            split.bad |= dict(lines)
        if split.bad and team.world > 1:  # the limit is on all of them
            request.bad_files_seen(split.index, [*split.bad.values()])
    for split, _, ids in every:
        split.peers.exchange(ids, kept)
    return computed, time.monotonic() - started


def _extract(
    request: Request,
    plan: Plan,
    kept: Store,
    parts: list[tuple[Split, int, NDArray[np.int64]]],
) -> int:
    """The rows that are this process's to compute; returns their number."""
    if not any(len(positions) for _, _, positions in parts):
        return 0
    request.network.eval()
    backbone = tail.Backbone(request.network)
    computed = 0
    try:
        loader = request.loaders.photos(parts[0][0].index, "none")
        engine = Fitting(
            partial(engines.build, plan, backbone, request.preprocessing, request.device),
            loader.micro,
        )
        for split, view, positions in parts:
            loader = request.loaders.photos(split.index, split.augmentation)
            positions = np.setdiff1d(positions, list(split.bad))
            bar = Bar(f"features of {split.index.channel}", len(positions))
            lost = extract(
                engine, loader, positions, view, split.ids[view], kept,
                request.should_stop, request.bad_files_seen, bar.advance,
            )  # fmt: skip
            bar.close()
            split.bad |= lost
            computed += len(positions) - len(lost)
    finally:
        backbone.close()
    return computed
