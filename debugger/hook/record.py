"""One saved step, copied out of the network: what the writing thread gets."""

from dataclasses import dataclass, field

import torch

from debugger.hook.settings import Collection, Reduction

WITHOUT_NUMPY = (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
"""Kinds of number that are saved as float32, for numpy has none of them."""


@dataclass
class Saved:
    """One tensor. What changes after this moment, its network's does: the values are copies."""

    name: str
    collections: tuple[str, ...]
    shape: tuple[int, ...]
    raw: bool
    write_shape: bool
    value: torch.Tensor | None
    """On the CPU; None where only reductions are written."""
    reductions: dict[Reduction, torch.Tensor]


@dataclass
class Record:
    mode: str
    mode_step: int
    step: int
    """The global one, which is no other record's."""
    tensors: list[Saved] = field(default_factory=list)
    scalars: dict[str, float] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(each.value.nbytes for each in self.tensors if each.value is not None)

    def take(
        self,
        name: str,
        tensor: torch.Tensor,
        collections: tuple[Collection, ...],
        histograms: bool,
    ) -> None:
        """Copies what `collections` keep of a tensor, if there are any."""
        if not collections or tensor.layout is not torch.strided or tensor.is_quantized:
            return
        raw = any(each.keep.raw for each in collections)
        wanted = dict.fromkeys(one for each in collections for one in each.keep.reductions)
        drawn = histograms and any(each.histogram for each in collections)
        value = tensor.detach()
        fresh = value.to(torch.float32) if value.dtype in WITHOUT_NUMPY else value
        copy = None
        if raw or drawn:
            copy = fresh.to("cpu", copy=fresh is value)
        self.tensors.append(
            Saved(
                name,
                tuple(each.name for each in collections),
                tuple(tensor.shape),
                raw,
                any(each.keep.shape for each in collections),
                copy,
                {reduction: reduced(fresh, reduction) for reduction in wanted},
            )
        )


def reduced(tensor: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """As smdebug computes it (pytorch/utils.py), where the tensor lies; whole numbers as float."""
    if not tensor.is_floating_point():
        tensor = tensor.double()
    if reduction.absolute:
        tensor = tensor.abs()
    name = "var" if reduction.name == "variance" else reduction.name
    if name in ("l1", "l2"):
        norm: torch.Tensor = torch.linalg.vector_norm(tensor, int(name[1])).cpu()
        return norm
    if not tensor.numel():
        return torch.tensor(torch.nan)
    found: torch.Tensor = getattr(tensor, name)().cpu()
    return found
