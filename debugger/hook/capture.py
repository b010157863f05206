"""Takes a step's tensors out of a network that trains, and changes nothing in it.

Listeners are put on modules for a step that is saved, and only on those that something is wanted
of: any other step runs as if there were no hook. Inputs are taken before a module runs, so that
they are true where it works in place. Of the first forward pass everything is taken, of the other
micro-batches of a step logits, labels and loss.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from debugger.hook import names
from debugger.hook.plan import Plan
from debugger.hook.record import Record
from debugger.hook.settings import Collection

Guard = Callable[..., None]
"""Calls its first argument with the others; an error in it ends the capture, not the training."""


class Capture:
    """Of one network, its loss and its optimizer."""

    def __init__(
        self,
        network: nn.Module,
        criterion: nn.Module,
        optimizer: torch.optim.Optimizer,
        plan: Plan,
        histograms: bool,
        guard: Guard,
    ) -> None:
        self._given = network
        self._network = names.inner(network)
        self._criterion, self._optimizer = criterion, optimizer
        self._plan, self._histograms, self._guard = plan, histograms, guard
        self._tops = [self._network]
        self._running: set[nn.Module] | None = None
        self._handles: list[RemovableHandle] = []
        self._stance: Any = None
        self.record: Record | None = None
        """Of the step under way, where it is saved."""

    def cached(self, trained: nn.Module) -> None:
        self._tops.append(trained)
        self._running = set(trained.modules())

    def needs_whole(self, due: tuple[Collection, ...]) -> bool:
        """Whether something is wanted of a module that does not run any more."""
        return self._running is not None and not self._plan.watched(due).keys() <= self._running

    def begin(self, record: Record, due: tuple[Collection, ...]) -> None:
        """Takes the weights, and listens from here on."""
        self.end()
        self.record, self._due = record, due
        self._calls: dict[str, int] = {}
        self._parts: list[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]] = []
        for name, parameter in names.parameters(self._network).items():
            self._take(name, parameter)
        self._passing = True
        for module, name in self._plan.watched(due).items():
            self._handles += [
                module.register_forward_pre_hook(self._heard("input", name)),
                module.register_forward_hook(self._heard("output", name)),
            ]
        self._handles += [
            top.register_forward_hook(lambda *_: self._pass_done()) for top in self._tops
        ]
        self._handles.append(self._criterion.register_forward_hook(self._loss))
        if record.mode == "TRAIN":
            self._handles.append(self._optimizer.register_step_pre_hook(self._gradients))
        if compiled(self._given):
            # a compiled module does not look whether somebody listens
            self._stance = torch.compiler.set_stance("force_eager")

    def finish(self) -> Record | None:
        """The step's record, complete; None where none is under way."""
        record = self.record
        if record is not None and self._parts:
            self._losses()
        self.end()
        return record

    def end(self) -> None:
        """Listens no more, and forgets what is not finished."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.record = None
        self._eager_done()

    def _eager_done(self) -> None:
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None

    def _take(self, name: str, tensor: torch.Tensor) -> None:
        assert self.record is not None
        self.record.take(name, tensor, self._plan.of(name, self._due), self._histograms)

    def _heard(self, side: str, name: str) -> Callable[..., None]:
        key = f"{name}_{side}_"

        def take(value: Any) -> None:
            """smdebug's order: tensors of nested tuples and lists count on."""
            if isinstance(value, torch.Tensor):
                number = self._calls.get(key, 0)
                self._calls[key] = number + 1
                self._take(f"{key}{number}", value)
            elif isinstance(value, tuple | list):
                for each in value:
                    take(each)

        def listen(module: nn.Module, *values: Any) -> None:
            if self._passing:
                self._guard(take, values[-1])

        return listen

    def _pass_done(self) -> None:
        self._passing = False
        self._eager_done()

    def _loss(self, module: nn.Module, inputs: Any, loss: Any) -> None:
        self._guard(self._part, inputs, loss)

    def _part(self, inputs: Any, loss: torch.Tensor) -> None:
        """Of one micro-batch. Copied, for what follows may work in place."""
        logits, goals = inputs[0], inputs[1]
        name = names.title(self._criterion)
        keeps = [bool(self._plan.of(f"{name}_input_{at}", self._due)) for at in (0, 1)]
        kept = [
            each.detach().clone() if keep else each.detach()[:0]
            for each, keep in zip((logits, goals), keeps, strict=True)
        ]
        self._parts.append((len(goals), kept[0], kept[1], loss.detach().clone()))

    def _losses(self) -> None:
        """Over the whole step: a mean by photos."""
        name = names.title(self._criterion)
        photos = [each[0] for each in self._parts]
        losses = torch.stack([each[3].float() for each in self._parts])
        if losses.ndim == 1 and len(photos) > 1:
            weights = torch.tensor(photos, dtype=losses.dtype, device=losses.device)
            losses = ((losses * weights).sum() / weights.sum())[None]
        self._take(f"{name}_input_0", torch.cat([each[1] for each in self._parts]))
        self._take(f"{name}_input_1", torch.cat([each[2] for each in self._parts]))
        self._take(f"{name}_output_0", losses[0] if len(losses) == 1 else losses.mean(0))
        self._parts = []

    def _gradients(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._guard(self._take_gradients, optimizer)

    def _take_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """What the optimizer is given: of all micro-batches and processes, without the scale of
        mixed precision; none where that scale was too large and the update is left out."""
        assert self.record is not None
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        self.record.scalars["learning_rate"] = max(rates)
        # a fused optimizer takes these two itself
        found = getattr(optimizer, "found_inf", None)
        if found is not None and found.item():
            return
        scale = getattr(optimizer, "grad_scale", None)
        for name, parameter in names.parameters(self._network).items():
            owners = self._plan.of(f"gradient/{name}", self._due)
            if parameter.grad is not None and owners:
                gradient = parameter.grad if scale is None else parameter.grad / scale
                self._take(f"gradient/{name}", gradient)


def compiled(network: nn.Module) -> bool:
    """By torch.compile, as a wrapper or in place."""
    return any(
        hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        for module in network.modules()
    )
