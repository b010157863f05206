"""How long the loop waits for its batches: the time that more workers could save."""

import time
from collections.abc import Callable, Iterator

import torch

from train.batches import Batches, MicroBatch


class Timed:
    """A source of batches that measures its own passes; two clock readings a micro-batch. `stage`
    is told when a wait begins and ends."""

    def __init__(self, batches: Batches, stage: Callable[[str], None] = lambda name: None) -> None:
        self.batches, self.stage = batches, stage
        self.index = batches.index
        self.waited = self.seconds = 0.0

    @property
    def micro(self) -> int:
        return self.batches.micro

    @micro.setter
    def micro(self, images: int) -> None:
        self.batches.micro = images

    @property
    def steps(self) -> int:
        return self.batches.steps

    @property
    def share(self) -> float:
        """Part of the last pass through an epoch in which nothing was there to compute."""
        return self.waited / self.seconds if self.seconds else 0.0

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.batches.prepare(inputs)

    def in_order(self) -> Iterator[MicroBatch]:
        return self.batches.in_order()

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[MicroBatch]:
        self.waited = self.seconds = 0.0
        begun = asked = time.perf_counter()
        self.stage("data_wait")
        for batch in self.batches.epoch(epoch, first_step):
            self.stage("other")
            self.waited += time.perf_counter() - asked
            yield batch
            self.stage("data_wait")
            asked = time.perf_counter()
        ended = time.perf_counter()
        self.waited += ended - asked
        self.seconds = ended - begun
