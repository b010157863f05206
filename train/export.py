"""The end of a job: the artifact is written, loaded by a fresh process, checked, put in place."""

import json
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from artifact import archive, forward, reference
from artifact.archive import Description
from artifact.network import normalise
from artifact.preprocess import pixels
from artifact.reference import tolerance
from container import failure
from train.progress import say

VERIFY_SECONDS = 300
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "safetensors")


def versions() -> dict[str, str]:
    found = {name: metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}


def export(
    network: nn.Module,
    description: Description,
    model_dir: Path,
    compile_engine: Callable[[Path], dict[str, Any]] = lambda _: {},
    settle: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Publishes the artifact in `model_dir`; returns its files. `compile_engine` may add `engine/`
    to the folder that it is given, and says what goes into the description as `compiled`; `settle`
    may change the description a last time. Raises Failure, with nothing put in place, where a fresh
    process cannot load it and repeat the reference answer."""
    with archive.staging(model_dir) as folder:
        (folder / archive.REFERENCE).write_bytes(reference.png())
        weights = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
        save_file(weights, folder / archive.WEIGHTS)
        description.files = archive.describe_files(folder)
        description.reference_probabilities = _reference(network, description)
        archive.write_description(folder, description)
        description.compiled = compile_engine(folder)
        check(folder, description)
        settle()
        archive.write_description(folder, description)
        archive.publish(folder, model_dir)
    return description.files


def check(folder: Path, description: Description) -> None:
    """Describes the staged files and what a fresh process sees of them; a compiled engine that it
    cannot load is left out. Raises Failure where it cannot load the model."""
    if not description.compiled:
        shutil.rmtree(folder / archive.ENGINE, ignore_errors=True)
    description.files = archive.describe_files(folder)
    archive.write_description(folder, description)
    seen, refused = _verify(folder)
    if refused:
        say(f"warning: the compiled engine is left out, torch will serve: {refused}")
        description.compiled = {}
        shutil.rmtree(folder / archive.ENGINE)
        description.files = archive.describe_files(folder)
    description.engines = {
        engine: {"distance": value, "tolerance": tolerance(engine.rpartition("-")[2], value)}
        for engine, value in seen.items()
    }
    archive.write_description(folder, description)


@torch.no_grad()
def _reference(network: nn.Module, description: Description) -> list[float]:
    """Probabilities of the reference image in float32, on the device that trained."""
    network.eval()
    device = next(network.parameters()).device
    preprocessing = description.preprocessing
    one = torch.from_numpy(np.array(pixels(reference.png(), preprocessing)))[None].to(device)
    images = normalise(one, preprocessing.mean, preprocessing.std)
    logits = forward.logits(network, images, description.test_time_flip) / description.temperature
    answer: list[float] = forward.probabilities(logits, description.multi_label)[0].cpu().tolist()
    return answer


def _verify(folder: Path) -> tuple[dict[str, float], str]:
    """Distance per engine, and why the compiled one, if any, is of no use: by a process that shares
    nothing with this one but the folder."""
    command = [sys.executable, "-P", "-m", "artifact.verify", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=VERIFY_SECONDS)
    if done.returncode == -signal.SIGKILL:
        raise failure.HostMemoryError("the process that checks the saved model was killed")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise failure.ModelError(
            f"the saved model does not load in a fresh process: {last}",
            "the volume may be damaged or full; start the job again",
        )
    answer = json.loads(done.stdout.splitlines()[-1])
    distances: dict[str, float] = answer["distances"]
    if distances["torch-float32"] > tolerance("float32", 0):
        raise failure.ModelError(
            f"the saved model answers differently: {distances['torch-float32']:.4f} off",
            "the volume may be damaged; start the job again",
        )
    return distances, answer["refused"]
