"""The Debugger's hook: saves tensors of a training job where the platform uploads them.

Off unless asked for, and then smdebug is not even imported. An error inside the hook is logged once
and turns the hook off, never the job.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from torch import nn

COLLECTIONS = ["weights", "biases", "gradients", "losses"]
"""Saved where an interval is given and no configuration of the platform says otherwise."""


class Hook(Protocol):
    def register(self, network: nn.Module, criterion: nn.Module) -> None: ...
    def train(self) -> None: ...
    def evaluate(self) -> None: ...
    def close(self) -> None: ...


class NoHook:
    def register(self, network: nn.Module, criterion: nn.Module) -> None: ...
    def train(self) -> None: ...
    def evaluate(self) -> None: ...
    def close(self) -> None: ...


def create(
    config: Path | None, save_interval: int, tensors: Path, say: Callable[[str], None]
) -> Hook:
    """From the platform's `debughookconfig.json`, else every `save_interval` steps into `tensors`,
    else none."""
    if config is None and not save_interval:
        return NoHook()
    try:
        return SmdebugHook(config, save_interval, tensors, say)
    except Exception as error:  # whatever smdebug raises, training goes on without it
        say(f"debugger: no tensors are saved: {type(error).__name__}: {error}")
        return NoHook()


class SmdebugHook:
    """smdebug's hook behind a guard."""

    def __init__(
        self, config: Path | None, save_interval: int, tensors: Path, say: Callable[[str], None]
    ) -> None:
        import smdebug.pytorch as smd

        self._modes = smd.modes
        self._say = say
        self._off = False
        guarded = _guarded(smd.Hook, self._fail, lambda: self._off)
        if config is not None:
            self._hook = guarded.create_from_json_file(str(config))
            say(f"debugger: hook from {config}, tensors in {self._hook.out_dir}")
        else:
            self._hook = guarded(
                out_dir=str(tensors),
                save_config=smd.SaveConfig(save_interval=save_interval),
                include_collections=COLLECTIONS,
            )
            say(f"debugger: {', '.join(COLLECTIONS)} every {save_interval} steps in {tensors}")

    def register(self, network: nn.Module, criterion: nn.Module) -> None:
        self._try(self._hook.register_module, network)
        self._try(self._hook.register_loss, criterion)

    def train(self) -> None:
        self._try(self._hook.set_mode, self._modes.TRAIN)

    def evaluate(self) -> None:
        self._try(self._hook.set_mode, self._modes.EVAL)

    def close(self) -> None:
        """Writes what is open; nothing is recorded after it."""
        self._try(self._hook.close)
        self._off = True

    def _try(self, call: Callable[..., Any], *arguments: Any) -> None:
        if self._off:
            return
        try:
            call(*arguments)
        except Exception as error:  # see _fail
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._off = True
        self._say(f"debugger: hook turned off: {type(error).__name__}: {error}")


def _guarded(base: Any, fail: Callable[[Exception], None], off: Callable[[], bool]) -> Any:
    """A subclass of smdebug's hook whose callbacks never raise into the training step."""

    def guard(method: Callable[..., Any]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            if off():
                return
            try:
                method(*arguments)
            except Exception as error:  # see SmdebugHook._fail
                fail(error)

        return call

    class Guarded(base):  # type: ignore[misc]
        def forward_pre_hook(self, module: nn.Module, inputs: Any) -> None:
            guard(super().forward_pre_hook)(module, inputs)

        def forward_hook(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
            guard(super().forward_hook)(module, inputs, outputs)

        def backward_hook(self, tname: str) -> Callable[..., None]:
            return guard(super().backward_hook(tname))

        @staticmethod
        def _make_numpy_array(tensor_value: Any) -> Any:
            # numpy has no bfloat16, which mixed precision computes in
            if getattr(tensor_value, "is_floating_point", bool)():
                tensor_value = tensor_value.float()
            return base._make_numpy_array(tensor_value)

    return Guarded
