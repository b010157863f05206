"""The artifact on disk: `model.json`, `weights.safetensors`, `reference.png`, and maybe `engine/`.

`model.json` is written last and holds the hash of every other file, so that a folder with it is
whole. Nothing in it is code, and nothing is read that it does not name.
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from artifact.rules import Preprocessing

FORMAT_VERSION = 1
DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"
REFERENCE = "reference.png"
ENGINE = "engine"
ENGINE_GRAPH, ENGINE_WEIGHTS = f"{ENGINE}/model.xml", f"{ENGINE}/model.bin"
ENGINE_FILES = (ENGINE_GRAPH, ENGINE_WEIGHTS)
"""Of the compiled engine: there are both or neither."""
ENGINE_PRECISIONS = ("int8", "bfloat16", "float32")
NESTED_LEVELS = 2
"""How deep below the model folder `model.json` is looked for: archives often add a folder."""
PARTIAL = ".partial-"
MAX_DESCRIPTION_BYTES = 64 << 20


class ArtifactError(ValueError):
    """The folder holds no artifact, or a damaged one."""


@dataclass(kw_only=True)
class Description:
    """What `model.json` says; every number that serving needs, and where the model came from."""

    network: str
    labels: list[str]
    preprocessing: Preprocessing
    hidden_units: list[int] = field(default_factory=list)
    temperature: float = 1.0
    """Probabilities are softmax(logits / temperature): fitted on validation photos, it changes how
    certain an answer is and never which label is first."""
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    reference_probabilities: list[float] = field(default_factory=list)
    """Of the reference image, in label order, computed in float32."""
    engines: dict[str, dict[str, float]] = field(default_factory=dict)
    """Engine -> `distance` (largest difference of a probability from float32's, seen at export) and
    the `tolerance` within which an answer counts as right on another machine."""
    multi_label: bool = False
    """Photos may have several labels: a probability for each, which need not add up to 1."""
    thresholds: list[float] = field(default_factory=list)
    """Of several labels: the probability from which a photo is given each, in label order."""
    test_time_flip: bool = False
    """Answers are the mean over a photo and its mirror image."""
    compiled: dict[str, Any] = field(default_factory=dict)
    """Of the engine in `engine/`: its `precision`, the `accuracies` seen on how many `images`, and
    the `decision` in words. Empty where there is none."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """File name -> sha256 and bytes."""

    def as_dict(self) -> dict[str, Any]:
        values = asdict(self)
        values["preprocessing"] = self.preprocessing.as_dict()
        return {"format_version": FORMAT_VERSION, **values}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    names = (REFERENCE, WEIGHTS, *(ENGINE_FILES if (folder / ENGINE_GRAPH).is_file() else ()))
    return {
        name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size}
        for name in names
    }


def write_description(folder: Path, description: Description) -> None:
    """Atomic and durable: a reader sees the old file or the whole new one."""
    text = json.dumps(description.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    partial = folder / f".{DESCRIPTION}.partial"
    with partial.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / DESCRIPTION)


@contextmanager
def staging(model_dir: Path) -> Iterator[Path]:
    """A temporary folder on the model folder's own file system, gone afterwards in any case."""
    model_dir.mkdir(parents=True, exist_ok=True)
    for leftover in model_dir.glob(f"{PARTIAL}*"):  # of a job that was killed: it would be uploaded
        shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=model_dir))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, model_dir: Path) -> None:
    """Moves a checked artifact into place. The description goes first out and last in, so that no
    mixture of an old and a new model ever looks whole."""
    (model_dir / DESCRIPTION).unlink(missing_ok=True)
    shutil.rmtree(model_dir / ENGINE, ignore_errors=True)  # an old one beside new weights
    engine = ENGINE_FILES if (folder / ENGINE_GRAPH).is_file() else ()
    if engine:
        (model_dir / ENGINE).mkdir(mode=0o755)
        (model_dir / ENGINE).chmod(0o755)
    for name in (REFERENCE, WEIGHTS, *engine, DESCRIPTION):
        # mkdtemp's files are the user's own; the platform's uploader may be another one
        (folder / name).chmod(0o644)
        sync(folder / name)
        if name == DESCRIPTION and engine:
            sync(model_dir / ENGINE)
        (folder / name).replace(model_dir / name)
    sync(model_dir)


def sync(path: Path) -> None:
    """Returns once the file's content, or the folder's names, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def find(model_dir: Path) -> Path:
    """The folder that holds `model.json`, at most two levels down. Raises ArtifactError."""
    found = []
    for level in range(NESTED_LEVELS + 1):
        pattern = "/".join(["*"] * level + [DESCRIPTION])
        found = [
            path.parent
            for path in sorted(model_dir.glob(pattern))
            if not any(part.startswith(".") for part in path.relative_to(model_dir).parts)
        ]
        if found:
            break
    if not found:
        raise ArtifactError(f"{DESCRIPTION} missing in {model_dir}; found: {_tree(model_dir)}")
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(model_dir)) for path in found[:5])
        raise ArtifactError(f"{model_dir} holds {len(found)} artifacts: {names}; mount one of them")
    return found[0]


def _tree(folder: Path) -> str:
    if not folder.is_dir():
        return "no such folder"
    names = sorted(str(path.relative_to(folder)) for path in folder.glob("*"))
    names += sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))
    shown = ", ".join(names[:10]) or "nothing"
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown


def read_description(folder: Path) -> Description:
    """Raises ArtifactError for anything but a whole description of this format."""
    path = folder / DESCRIPTION
    try:
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            raise ArtifactError(f"{path} is larger than {MAX_DESCRIPTION_BYTES >> 20} MiB")
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values.pop("format_version")
        if version != FORMAT_VERSION:
            raise ArtifactError(
                f"{path} has format version {version!r}; this image reads {FORMAT_VERSION}"
            )
        values["preprocessing"] = Preprocessing.from_dict(values["preprocessing"])
        description = Description(**values)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from error
    except ArtifactError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    labels = description.labels
    if not isinstance(labels, list) or len(labels) < 2 or len(set(map(str, labels))) != len(labels):
        raise ArtifactError(f"{path} is damaged: labels must be at least two different names")
    _check_temperature(path, description.temperature)
    if not isinstance(description.multi_label, bool):
        raise ArtifactError(f"{path} is damaged: multi_label must be true or false")
    if description.multi_label and not _thresholds_fit(description):
        raise ArtifactError(f"{path} is damaged: thresholds must be a number for every label")
    _check_engine(path, description)
    return description


def _check_engine(path: Path, description: Description) -> None:
    expected = {REFERENCE, WEIGHTS}
    compiled: object = description.compiled
    if not isinstance(compiled, dict):
        raise ArtifactError(f"{path} is damaged: compiled must be an object")
    if compiled:
        expected |= set(ENGINE_FILES)
        if compiled.get("precision") not in ENGINE_PRECISIONS:
            raise ArtifactError(
                f"{path} is damaged: the compiled engine's precision is "
                f"{compiled.get('precision')!r}, expected one of {', '.join(ENGINE_PRECISIONS)}"
            )
    if set(description.files) != expected:
        raise ArtifactError(f"{path} names files {sorted(description.files)}")


def _check_temperature(path: Path, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise ArtifactError(f"{path} is damaged: temperature={value!r}, expected a number above 0")


def _thresholds_fit(description: Description) -> bool:
    found: object = description.thresholds
    return (
        isinstance(found, list)
        and len(found) == len(description.labels)
        and all(isinstance(one, int | float) for one in found)
    )


def check_files(folder: Path, description: Description, names: Iterable[str] = ()) -> None:
    """Compares all files, or those of the `names`, with size and hash. Raises ArtifactError."""
    described = check_sizes(folder, description, names or description.files)
    for name in described:
        check_hash(folder, name, described)


def check_sizes(
    folder: Path, description: Description, names: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """What is said of these files. Raises ArtifactError where one is missing or cut."""
    described = {name: description.files[name] for name in names}
    for name, expected in described.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{name} missing in {folder}")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise ArtifactError(f"{name} has {size} bytes, {DESCRIPTION} says {expected['bytes']}")
    return described


def check_hash(folder: Path, name: str, described: dict[str, dict[str, Any]]) -> None:
    if sha256(folder / name) != described[name]["sha256"]:
        raise ArtifactError(f"{name} is not the file that {DESCRIPTION} describes (sha256)")
