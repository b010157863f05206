"""Mini-batches: the photos of an update, decoded in worker processes.

An update of `batch_size` images is made of micro-batches: what a worker decodes, and what the
network sees, at a time. Everything random depends on the seed, the epoch and the photo alone, so
that any part of any epoch can be repeated: with other workers, or after an interruption. The copies
of a photo whose features are kept depend on its content alone, so that other jobs find them, too.
"""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from artifact.network import normalise
from artifact.preprocess import PhotoError, Preprocessing, open_photo
from container import resources
from pages.markup import shown
from train import content
from train.augmentation import Augmentation
from train.index import Index
from train.schedule import Share, Spec
from train.watchdog import listen

SHARED_MEMORY_SHARE = 0.5
"""Part of the free shared memory that batches in flight may fill."""


@dataclass
class MicroBatch:
    spec: Spec
    """Its positions are those of the photos that are there."""
    inputs: torch.Tensor
    """N x H x W x 3 uint8, or what else the source's `prepare` takes."""
    targets: torch.Tensor
    """N int64 classes, or N x classes uint8 of 0 and 1 where photos have several labels."""
    bad: list[str] = field(default_factory=list)
    """Files that could not be decoded, left out of the batch."""
    missing: list[int] = field(default_factory=list)
    """Their positions in the index; the spec has the others'."""


@dataclass(frozen=True)
class Plan:
    workers: int
    prefetch: int
    note: str = ""


def plan(asked: int, micro_bytes: int, device: str, shared_bytes: int | None) -> Plan:
    """Worker processes and micro-batches in flight, cut to the `shared_bytes` that are free.

    `asked` is -1 for: half the processors where the network computes on them too, else one each.
    """
    cpus = resources.cpu_count()
    workers = asked if asked >= 0 else (max(1, cpus // 2) if device == "cpu" else min(cpus, 16))
    free = shared_bytes or 0
    room = int(free * SHARED_MEMORY_SHARE) // max(micro_bytes, 1)
    # a worker holds the batches it has made ahead, and the one that it is making
    if not workers or workers * 3 <= room:
        return Plan(workers, 2)
    fewer = min(workers, room // 2)
    note = (
        f"/dev/shm has {free >> 20} MiB free, too little for {workers} workers: "
        f"{fewer} workers, 1 batch ahead"
    )
    return Plan(fewer, 1, note)


class Batches(Protocol):
    """Where the micro-batches of one split come from: photos that workers decode, or anything else
    that is cheaper and gives the network the same."""

    index: Index
    micro: int
    """Most images in a micro-batch; lowered between two passes where memory is short."""

    @property
    def steps(self) -> int: ...
    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[MicroBatch]: ...
    def in_order(self) -> Iterator[MicroBatch]: ...
    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """A micro-batch's inputs, on the device -> what the network takes."""
        ...


class Photos(Dataset[MicroBatch]):
    """Spec -> MicroBatch; what a worker process runs."""

    def __init__(
        self,
        index: Index,
        preprocessing: Preprocessing,
        augmentation: str,
        seed: int,
        erasing: float = 0.0,
    ) -> None:
        self.index = index
        self.preprocessing = preprocessing
        self.augment = Augmentation(augmentation, preprocessing, erasing)
        self.seed = seed

    def __getitem__(self, spec: Spec) -> MicroBatch:
        images, kept, missing, bad = [], [], [], []
        for position in spec.positions:
            try:
                images.append(self._photo(int(position), spec))
                kept.append(int(position))
            except (PhotoError, OSError) as error:
                bad.append(f"{self.index.channel}/{shown(self.index.name(int(position)))}: {error}")
                missing.append(int(position))
        side = self.preprocessing.image_size
        stacked = np.stack(images) if images else np.empty((0, side, side, 3), np.uint8)
        if bad:
            spec = replace(spec, positions=np.array(kept, np.int64))
        targets = torch.from_numpy(self.index.targets[kept])
        if not self.index.multi_label:
            targets = targets.long()  # what the losses take
        return MicroBatch(spec, _shared(torch.from_numpy(stacked)), targets, bad, missing)

    def _photo(self, position: int, spec: Spec) -> NDArray[np.uint8]:
        data = self.index.read(position)
        image = open_photo(data, self.preprocessing.resize)
        if not self.augment.random:
            return self.augment(image)
        state = torch.get_rng_state()  # without workers it is the network's generator too
        torch.manual_seed(self._drawn_from(data, position, spec))
        try:
            return self.augment(image)
        finally:
            torch.set_rng_state(state)

    def _drawn_from(self, data: bytes, position: int, spec: Spec) -> int:
        if spec.view is None:
            return hash((self.seed, spec.epoch, position)) & 0x7FFFFFFF
        photo = content.of_photo(data)
        return int.from_bytes(content.of_view(photo, self.augment.name, spec.view)[:4])


def _shared(tensor: torch.Tensor) -> torch.Tensor:
    """In a worker, moved to shared memory here, where a lack of it is an error of the batch: the
    queue that would do it otherwise drops the batch, and training waits for it for ever."""
    return tensor if get_worker_info() is None else tensor.share_memory_()  # type: ignore[no-untyped-call]


class Order(Sampler[Spec]):
    """The specs of the coming epoch; the loader asks anew for each."""

    def __init__(self) -> None:
        self.specs: list[Spec] = []

    def __iter__(self) -> Iterator[Spec]:
        return iter(self.specs)


class Loader:
    """Micro-batches of one split. `micro` is the most images in one, `batch_size` in an update.

    Workers that `stay` between epochs save their start; evaluation's end with it, so that no more
    processes wait than work.
    """

    def __init__(
        self,
        photos: Photos,
        batch_size: int,
        micro: int,
        plan: Plan,
        *,
        pin: bool,
        stay: bool,
        share: Share | None = None,
    ) -> None:
        self.photos = photos
        self.index = photos.index
        self.samples = len(photos.index)
        self.share = share or Share((self.samples,))
        self.batch_size = batch_size
        self.micro = micro
        self._order = Order()
        workers = min(plan.workers, -(-self.samples // micro))
        ahead = {"prefetch_factor": plan.prefetch, "persistent_workers": stay} if workers else {}
        self._loader: DataLoader[MicroBatch] = DataLoader(
            photos,
            sampler=self._order,
            batch_size=None,
            num_workers=workers,
            worker_init_fn=_calm if workers else None,
            # a pass draws from it: the global one is dropout's, which a resumed pass must not move
            generator=torch.Generator(),
            pin_memory=pin,
            **ahead,  # type: ignore[arg-type]
        )

    @property
    def steps(self) -> int:
        return self.share.steps(self.batch_size)

    @property
    def processes(self) -> int:
        """That decode photos: workers, or without them the training process itself."""
        return max(1, self._loader.num_workers)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[MicroBatch]:
        """Shuffled; from the update `first_step` on."""
        photos = self.photos
        specs = self.share.epoch(self.batch_size, self.micro, photos.seed, epoch)
        self._order.specs = [spec for spec in specs if spec.step >= first_step]
        yield from self._loader

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        preprocessing = self.photos.preprocessing
        return normalise(inputs, preprocessing.mean, preprocessing.std)

    def in_order(self) -> Iterator[MicroBatch]:
        """Every sample of this process's part once, in the order of the index."""
        yield from self._run(list(self.share.in_order(self.micro)))

    def these(self, positions: NDArray[np.int64], view: int = 0) -> Iterator[MicroBatch]:
        """The samples at `positions`, in that order, as `view` changes them."""
        yield from self._run(
            [
                Spec(0, step, positions[start : start + self.micro], len(positions), True, view)
                for step, start in enumerate(range(0, len(positions), self.micro))
            ]
        )

    def _run(self, specs: list[Spec]) -> Iterator[MicroBatch]:
        self._order.specs = specs
        yield from self._loader


def _calm(worker: int) -> None:
    """Ctrl-C is the training process's to handle: workers that died of it would turn a stop into an
    error. One thread each, since there is one worker per processor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the handler that the fork inherited
    torch.set_num_threads(1)
    listen()
