"""Several processes that train one network together: what they tell each other.

Every process has the whole network and a part of every update. At the update's end the gradients
are summed over all of them, so that the update is the one that a single process would have made,
within the rounding of a sum; so are the loss, the counts and the wish to stop, in the same message.
The statistics of batch normalisation are averaged with it, by photos: each process normalises by
its own part, and the leader's checkpoint is everybody's state.

A process that is alone is a team of one: nothing is sent, and there is no second path.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn

from container.failure import PeerLostError
from train.schedule import Share

TIMEOUT = timedelta(minutes=30)
"""Of one message. Dead processes and hosts are noticed by the supervisors, long before; this is for
a process that lives and does nothing."""

BUCKET_BYTES = 25 << 20
"""Gradients go in pieces of about this size: few enough that a message's latency does not count,
small enough that the first is under way while the next is put together."""

CONNECTION_WORDS = re.compile(r"gloo|nccl|socket|connection|store|peer|time[d ]*out", re.IGNORECASE)

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Team:
    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    host: int = 0
    """Number of this host, in the order of their names."""

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, samples: int, sharded: bool) -> Share:
        """This process's share of a split, of which this host has `samples` photos."""
        if not sharded:
            return Share((samples,), 0, self.rank, self.world)
        counts = dict(map(tuple, self.gather([self.host, samples])))
        shards = tuple(counts[host] for host in sorted(counts))
        return Share(shards, self.host, self.local_rank, self.local_world)

    def seed(self, seed: int, step: int) -> None:
        """Dropout differs between the processes, and repeats: the leader's generator is in the
        checkpoint, the others' start from the step."""
        if not self.leads:
            torch.manual_seed(hash((seed, self.rank, step)) & 0x7FFFFFFF)

    def gather(self, value: Any) -> list[Any]:
        """What every process says, in the order of the ranks: plain values, as JSON."""
        if self.world == 1:
            return [value]
        said = np.frombuffer(json.dumps(value).encode(), np.uint8)
        return [json.loads(heard.tobytes()) for heard in self._exchange(said)]

    def gather_arrays(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Every process's array, in the order of the ranks; they may differ in length only."""
        if self.world == 1:
            return [array]
        flat = np.frombuffer(array.tobytes(), np.uint8)
        rest = array.shape[1:]
        return [np.frombuffer(heard.tobytes(), array.dtype).reshape(-1, *rest)
                for heard in self._exchange(flat)]  # fmt: skip

    def _exchange(self, said: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        with _talking(self.rank):
            dist.all_gather(sizes, torch.tensor([len(said)]))
            lengths = [int(size) for size in sizes]
            mine = torch.zeros(max(1, *lengths), dtype=torch.uint8)
            mine[: len(said)] = torch.from_numpy(said.copy())
            heard = [torch.zeros_like(mine) for _ in range(self.world)]
            dist.all_gather(heard, mine)
        return [each[:length].numpy() for each, length in zip(heard, lengths, strict=True)]

    def to_leader(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """In the leader every process's array, in the order of the ranks, which may differ in
        length only; nothing elsewhere, so that large ones do not take everybody's memory."""
        sizes = self.gather(array.nbytes)
        heard = [array]
        with _talking(self.rank):
            if not self.leads:
                if array.nbytes:
                    dist.send(torch.from_numpy(np.frombuffer(array.tobytes(), np.uint8).copy()), 0)
                return []
            for rank, size in enumerate(sizes[1:], 1):
                flat = torch.empty(size, dtype=torch.uint8)
                if size:
                    dist.recv(flat, rank)
                part = np.frombuffer(flat.numpy().tobytes(), array.dtype)
                heard.append(part.reshape(-1, *array.shape[1:]))
        return heard

    def from_leader(self, value: Any) -> Any:
        """The leader's plain value; what the others give is not looked at."""
        return self.gather(value if self.leads else None)[0]

    def tensors_from_leader(self, tensors: Tensors | None) -> Tensors | None:
        """The leader's tensors, or its None. They travel as bytes, whatever they hold."""
        if self.world == 1:
            return tensors
        own = tensors if self.leads else None
        described = self.from_leader(
            None if own is None else [_described(name, value) for name, value in own.items()]
        )
        if described is None:
            return None
        received: Tensors = {}
        with _talking(self.rank):
            for name, shape, dtype in described:
                if own is None:
                    value = torch.empty(shape, dtype=getattr(torch, dtype))
                else:
                    value = own[name].detach().cpu()
                flat = value.contiguous().reshape(-1).view(torch.uint8)
                dist.broadcast(flat, 0)
                received[name] = flat.view(value.dtype).reshape(shape)
        return received

    def sum(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Summed over all processes."""
        if self.world == 1:
            return numbers
        tensor = torch.from_numpy(np.array(numbers))
        with _talking(self.rank):
            dist.all_reduce(tensor)
        return tensor.numpy()

    def combine(
        self, optimizer: torch.optim.Optimizer, network: nn.Module, sums: Sequence[float]
    ) -> list[float]:
        """Sums gradients and `sums` (the last but one of which counts this process's photos) over
        all processes, and averages what the network has noted of its inputs; in place."""
        if self.world == 1:
            return list(sums)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        device = parameters[0].device
        images = sums[-2]
        # a process without photos in this update has no gradients; a weight that nobody used none
        used = torch.tensor([p.grad is not None for p in parameters], device=device)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        noted = statistics(network)
        weighted = [buffer * images for buffer in noted]
        counts = torch.cat([torch.tensor(list(sums), device=device), used.float()])
        with _talking(self.rank):
            sum_in_buckets([counts, *weighted, *(p.grad for p in parameters if p.grad is not None)])
            combined: list[float] = counts[: len(sums)].tolist()  # on a GPU this is what waits
        if total := combined[-2]:
            for buffer, value in zip(noted, weighted, strict=True):
                buffer.copy_(value / total)
        for parameter, uses in zip(parameters, counts[len(sums) :].tolist(), strict=True):
            if not uses:
                parameter.grad = None
        return combined

    def leave(self) -> None:
        if self.world > 1:
            dist.destroy_process_group()


ALONE = Team()


def join(environment: dict[str, str] | None = None) -> Team:
    """The team that the supervisor has planned; returns when all are there."""
    environment = dict(os.environ) if environment is None else environment
    world = int(environment.get("WORLD_SIZE") or 1)
    if world == 1:
        return ALONE
    rank = int(environment["RANK"])
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _talking(rank):
        dist.init_process_group(backend, rank=rank, world_size=world, timeout=TIMEOUT)
    return Team(
        rank,
        world,
        int(environment["LOCAL_RANK"]),
        int(environment["LOCAL_WORLD_SIZE"]),
        int(environment["GROUP_RANK"]),
    )


def _described(name: str, tensor: torch.Tensor) -> list[Any]:
    return [name, list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]


class _Messages:
    """How many this process is in the midst of."""

    under_way = 0


def waiting() -> bool:
    """Whether this process is talking to the others, and so may be waiting for them."""
    return _Messages.under_way > 0


@contextmanager
def _talking(rank: int) -> Iterator[None]:
    """An error between the processes is a consequence of one's death, not a defect of this one."""
    _Messages.under_way += 1
    try:
        yield
    except RuntimeError as error:
        words = (str(error) or type(error).__name__).splitlines()[0]
        if isinstance(error, dist.DistError) or CONNECTION_WORDS.search(str(error)):
            raise PeerLostError(f"rank {rank} lost the others: {words}") from error
        raise
    finally:
        _Messages.under_way -= 1


def statistics(network: nn.Module) -> list[torch.Tensor]:
    """What layers that are training note of their inputs; a frozen layer's stays as it is."""
    return [
        buffer
        for module in network.modules()
        if module.training
        for buffer in module.buffers(recurse=False)
        if buffer.is_floating_point()
    ]


def sum_in_buckets(tensors: Sequence[torch.Tensor]) -> None:
    """Sums every tensor over all processes, in place, in few messages."""
    under_way = []
    for bucket in _buckets(tensors):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        under_way.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in under_way:
        assert work is not None
        work.wait()
        parts = torch.split(flat, [tensor.numel() for tensor in bucket])
        for tensor, part in zip(bucket, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size > BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel() * tensor.element_size()
    if bucket:
        yield bucket
