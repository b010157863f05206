"""Real things for the tests, made in code: photos of known content, and a tiny artifact."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from artifact import archive, network, reference
from artifact.inference import Classifier
from artifact.preprocess import Preprocessing
from train import export
from train.compiled.candidates import Candidates, save
from train.compiled.order import Made, Order, Photos

LABELS = ["red", "green", "blue"]
IMAGE_SIZE = 32


def picture(width: int = 60, height: int = 40, seed: int = 0) -> Image.Image:
    """RGB with gradients and noise, so that a flip, a turn or a wrong channel changes it."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 40, (height, width))
    planes = [columns * 200 // width + noise, rows * 200 // height, 255 - columns * 90 // width]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def encode(image: Image.Image, name: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def photo(name: str = "JPEG", seed: int = 0) -> bytes:
    return encode(picture(seed=seed), name)


def red_jpeg() -> bytes:
    return encode(Image.new("RGB", (50, 40), (220, 20, 20)), "JPEG")


def npy(array: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def compiled_artifact(
    model_dir: Path, photos: Photos | None = None, tolerance: float = 0.5
) -> Path:
    """The artifact below with a compiled engine: in int8 where there are photos to calibrate and
    judge it with, else in float32; returns its folder."""
    artifact(model_dir)
    order = Order(str(model_dir), tolerance, 1, 60.0)
    add_engine(model_dir, order, photos or Photos.none(IMAGE_SIZE))
    return model_dir


def add_engine(folder: Path, order: Order, photos: Photos) -> Made:
    """What the process that makes an engine does, in this one."""
    graph, made = choose(order, photos)
    save(graph, folder)
    description = archive.read_description(folder)
    description.compiled = made.as_dict()
    export.check(folder, description)
    return made


def choose(order: Order, photos: Photos, say: Callable[[str], None] = print) -> tuple[Any, Made]:
    """The graph of an engine, made in a thread: quantising makes several of OpenVINO's cores, which
    leave the thread that they were made in with a stack for signals that is gone, and the main
    thread gets signals. A job does it in a process of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(Candidates(order, photos, say).choose).result()


def artifact(model_dir: Path, labels: list[str] | None = None) -> Path:
    """A whole artifact of `small_cnn` with random weights of a fixed seed; returns its folder."""
    labels = labels or LABELS
    torch.manual_seed(0)
    made = network.build(network.SMALL_CNN, len(labels), (), IMAGE_SIZE)
    description = archive.Description(
        network=network.SMALL_CNN,
        labels=labels,
        preprocessing=Preprocessing.for_size(IMAGE_SIZE),
    )
    with archive.staging(model_dir) as folder:
        save_file(made.state_dict(), folder / archive.WEIGHTS)
        (folder / archive.REFERENCE).write_bytes(reference.png())
        description.files = archive.describe_files(folder)
        archive.write_description(folder, description)
        description.reference_probabilities = Classifier(folder).reference().tolist()
        description.engines = {
            f"torch-{precision}": {"distance": 0.0, "tolerance": reference.tolerance(precision, 0)}
            for precision in ("float32", "bfloat16")
        }
        archive.write_description(folder, description)
        archive.publish(folder, model_dir)
    return model_dir
