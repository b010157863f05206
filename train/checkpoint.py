"""Checkpoints: everything needed to go on, as tensors and JSON, whole or not there.

A folder per set of hyperparameters and data, so that jobs that share a bucket prefix never take up
each other's state; in it a folder per checkpoint. A checkpoint counts once its manifest, with the
hash of every file, has been renamed into place with it; the newest valid one wins.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from artifact.archive import sha256, sync
from train.loop import State

MANIFEST = "checkpoint.json"
TENSORS = "tensors.safetensors"
BEST = "best.safetensors"
KEPT = 2
FORMAT_VERSION = 1

Tensors = dict[str, torch.Tensor]


@dataclass
class Checkpoint:
    state: State
    tensors: Tensors
    best: Tensors | None
    path: Path


def key(identity: dict[str, Any]) -> str:
    """Name of the folder of all runs that are the same run."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Store:
    """Checkpoints under `root`/key. `say` gets one line per decision."""

    def __init__(self, root: Path, identity: dict[str, Any], say: Callable[[str], None]) -> None:
        self.root = root
        self.identity = identity
        self.folder = root / key(identity)
        self.say = say

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
        return True

    def save(self, state: State, tensors: Tensors, best: Tensors | None) -> None:
        """Durable and atomic. Raises OSError, with nothing half-written left behind."""
        name = f"step-{state.step:09d}"
        partial = self.folder / f".partial-{name}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            files = {TENSORS: tensors, **({BEST: best} if best else {})}
            for file_name, content in files.items():
                save_file({k: v.contiguous() for k, v in content.items()}, partial / file_name)
            manifest = {
                "format_version": FORMAT_VERSION,
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
        for old in self._names()[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def load(self) -> Checkpoint | None:
        """The newest valid checkpoint of this run; damaged ones are named and passed over."""
        for path in self._names():
            try:
                found = _read(path)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                self.say(f"checkpoint {path.name} is damaged and passed over: {error}")
                continue
            self.say(f"resume: epoch {found.state.epoch + 1}, step {found.state.step} from {path}")
            return found
        self.say(f"resume: none, {self._why_none()}")
        return None

    def _names(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)

    def _why_none(self) -> str:
        """Checkpoints of other runs are listed with what differs from this one."""
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
    network: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> Tensors:
    """All tensors of a run, by name. The optimizer's plain values follow from hyperparameters."""
    tensors = {f"network/{k}": v.detach().cpu() for k, v in network.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                tensor = torch.as_tensor(value).detach().cpu()
                tensors[f"optimizer/{number}/{name}"] = tensor
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    if scaler.is_enabled():
        for name, number in scaler.state_dict().items():
            tensors[f"scaler/{name}"] = torch.tensor(number)
    return tensors


def restore(
    tensors: Tensors,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> None:
    """Puts everything back as it was, in place."""
    weights = {
        k.removeprefix("network/"): v for k, v in tensors.items() if k.startswith("network/")
    }
    network.load_state_dict(weights, strict=True)
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


def _read(path: Path) -> Checkpoint:
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if manifest["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format version {manifest['format_version']!r}")
    for name, expected in manifest["files"].items():
        if name not in (TENSORS, BEST) or sha256(path / name) != expected:
            raise ValueError(f"{name} is not the file that was written (sha256)")
    state = State(**{**manifest["state"], "interrupted": False})
    best = load_file(path / BEST) if BEST in manifest["files"] else None
    return Checkpoint(state, load_file(path / TENSORS), best, path)
