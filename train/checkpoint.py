"""Checkpoints: everything needed to go on, as tensors and JSON, whole or not there.

A folder per set of hyperparameters and data, so that jobs that share a bucket prefix never take up
each other's state: the trials of a tuning job differ in a hyperparameter. The job's name is not
part of it, since a new job over an old prefix is how people go on; the manifest holds it, and a
resumed run says whose checkpoint it took. In it a folder per checkpoint. A checkpoint counts once
its manifest, with the hash of every file, has been renamed into place with it; the newest valid one
wins.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from artifact.archive import sha256, sync
from train import staging
from train.loop import State

MANIFEST = "checkpoint.json"
TENSORS = "tensors.safetensors"
BEST = "best.safetensors"
KEPT = 2
FORMAT_VERSION = 1

Tensors = dict[str, torch.Tensor]


class Part(Protocol):
    """Anything else of a run that is made of tensors, such as averaged weights."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...


@dataclass
class Checkpoint:
    state: State
    tensors: Tensors
    best: Tensors | None
    path: Path
    job: str


def key(identity: dict[str, Any]) -> str:
    """Name of the folder of all runs that are the same run."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Store:
    """Checkpoints under `root`/key. `say` gets one line per decision.

    `outside` is a folder that the platform does not upload while the job runs, as it does whatever
    is under `root`, half-written or not. It is used where a rename leads from there to `root`.
    """

    def __init__(
        self,
        root: Path,
        identity: dict[str, Any],
        say: Callable[[str], None],
        outside: Path | None = None,
        job: str = "",
    ) -> None:
        self.root = root
        self.identity = identity
        self.folder = root / key(identity)
        self.say = say
        self.job = job
        self.kept = KEPT
        self._outside = outside
        self._staging = self.folder
        self._whole: str | None = None
        self._passed_over: list[Path] = []

    def writable(self) -> bool:
        """Whether checkpoints can be kept here; a job without them still trains."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / ".probe"
            probe.touch()
            probe.unlink()
        except OSError as error:
            self.say(f"checkpoints: none, {self.root} cannot be written: {error.strerror}")
            return False
        for leftover in self.folder.glob(".partial-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        self._staging = staging.folder(self._outside, self.folder)
        return True

    def close(self) -> None:
        if self._staging != self.folder:
            shutil.rmtree(self._staging, ignore_errors=True)

    def save(self, state: State, tensors: Tensors, best: Tensors | None) -> None:
        """Durable and atomic. Raises OSError, with nothing half-written left behind."""
        # a stop in an evaluation and the end of that epoch have the same step, and both count
        name = f"step-{state.step:09d}-epoch-{state.epoch:06d}-{state.step_in_epoch:09d}"
        if name == self._whole:
            return
        while self._passed_over:  # they would count among those that are kept
            shutil.rmtree(self._passed_over.pop(), ignore_errors=True)
        self._make_room(sum(each.nbytes for each in [*tensors.values(), *(best or {}).values()]))
        partial = self._staging / f".partial-{name}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            files = {TENSORS: tensors, **({BEST: best} if best else {})}
            for file_name, content in files.items():
                save_file({k: v.contiguous() for k, v in content.items()}, partial / file_name)
            manifest = {
                "format_version": FORMAT_VERSION,
                "job": self.job,
                "identity": self.identity,
                "state": state.as_dict(),
                "files": {file_name: sha256(partial / file_name) for file_name in files},
            }
            (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            for path in [*partial.iterdir(), partial]:
                sync(path)
            shutil.rmtree(self.folder / name, ignore_errors=True)
            partial.rename(self.folder / name)
            sync(self.folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        self._whole = name
        for old in self.names()[self.kept :]:
            shutil.rmtree(old, ignore_errors=True)

    def _make_room(self, size: int) -> None:
        """The oldest go first only where the new one would not fit beside them; the newest never,
        since a job that is killed while it writes has nothing else."""
        for old in reversed(self.names()[1:]):
            if shutil.disk_usage(self.folder).free > size:
                return
            shutil.rmtree(old, ignore_errors=True)

    def load(self, others: Callable[[Tensors], str] = lambda tensors: "") -> Checkpoint | None:
        """The newest valid checkpoint of this run; damaged ones are named and passed over, and so
        is one of which `others` says how its photos are not this run's."""
        for path in self.names():
            try:
                found = _read(path)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                self.say(f"checkpoint {path.name} is damaged and passed over: {error}")
                self._passed_over.append(path)
                continue
            if why := others(found.tensors):
                self.say(f"checkpoint {path.name} is of other photos and passed over: {why}")
                self._passed_over.append(path)
                continue
            by = f", written by {found.job}" if found.job != self.job else ""
            self.say(
                f"resume: epoch {found.state.epoch + 1}, step {found.state.step} from {path}{by}"
            )
            self._whole = path.name
            return found
        self.say(f"resume: none, {self._why_none()}")
        return None

    def names(self) -> list[Path]:
        """The newest first."""
        return sorted(self.folder.glob("step-*"), reverse=True)

    def _why_none(self) -> str:
        """Checkpoints of other runs are listed with what differs from this one."""
        if self._passed_over:
            return f"no usable checkpoint in {self.folder}"
        for manifest in sorted(self.root.glob(f"*/*/{MANIFEST}")):
            try:
                other = dict(json.loads(manifest.read_text(encoding="utf-8"))["identity"])
            except (OSError, ValueError, KeyError, TypeError):  # not of this program
                continue
            changed = sorted(k for k in self.identity if self.identity[k] != other.get(k))
            if changed:
                pairs = [f"{k} {other.get(k)!r} -> {self.identity[k]!r}" for k in changed[:5]]
                return f"the checkpoints in {self.root} are of another run: {', '.join(pairs)}"
        return f"no checkpoint in {self.root}"


def collect(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    parts: Mapping[str, Part] | None = None,
) -> Tensors:
    """Copies of all tensors of a run, by name, `parts` under theirs: training changes its own while
    these are written. The optimizer's plain values follow from hyperparameters."""
    tensors: Tensors = {}
    for part, holder in {"network": network, **(parts or {})}.items():
        for name, value in holder.state_dict().items():
            tensors[f"{part}/{name}"] = _copy(value)
    for number, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                tensors[f"optimizer/{number}/{name}"] = _copy(torch.as_tensor(value))
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    if scaler.is_enabled():
        for name, number in scaler.state_dict().items():
            tensors[f"scaler/{name}"] = torch.tensor(number)
    return tensors


def _copy(value: torch.Tensor) -> torch.Tensor:
    return value.detach().to("cpu", copy=True)


def restore(
    tensors: Tensors,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    parts: Mapping[str, Part] | None = None,
) -> None:
    """Puts everything back as it was, in place."""
    network.load_state_dict(_under("network/", tensors), strict=True)
    for part, holder in (parts or {}).items():
        holder.load_state_dict(_under(f"{part}/", tensors))
    values: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, number, field = name.split("/")
            values.setdefault(int(number), {})[field] = tensor
    plain = optimizer.state_dict()
    optimizer.load_state_dict({"state": values, "param_groups": plain["param_groups"]})
    for parameter, state in optimizer.state.items():
        for field, value in state.items():
            # files hold no strides, and a fused update walks weights and moments in step
            if value.shape == parameter.shape:
                state[field] = torch.empty_like(parameter).copy_(value)
    torch.set_rng_state(tensors["random/cpu"])
    if "random/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random/cuda"])
    if scaler.is_enabled():
        scaler.load_state_dict(
            {name: tensors[f"scaler/{name}"].item() for name in scaler.state_dict()}
        )


def _under(prefix: str, tensors: Tensors) -> Tensors:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _read(path: Path) -> Checkpoint:
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if manifest["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format version {manifest['format_version']!r}")
    for name, expected in manifest["files"].items():
        if name not in (TENSORS, BEST) or sha256(path / name) != expected:
            raise ValueError(f"{name} is not the file that was written (sha256)")
    state = State(**{**manifest["state"], "interrupted": False})
    best = load_file(path / BEST) if BEST in manifest["files"] else None
    return Checkpoint(state, load_file(path / TENSORS), best, path, str(manifest.get("job", "")))
