"""Training goes on from a model of an earlier job: the `model` channel.

It holds that job's `model.tar.gz`, or the same unpacked. Classes are matched by name, so that the
rows of the last layer follow their classes wherever those now stand. A new class begins below them,
so that photos are answered as they were until it is learned.
"""

import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from artifact import archive, network
from artifact.archive import Description
from artifact.preprocess import Preprocessing
from container.failure import ChannelError, ModelError, PretrainedError
from container.opt_ml import Channel
from train.hyperparameters import Hyperparameters
from train.sources.tar_header import CheckedHeader

CHANNEL = "model"
ARCHIVES = (".tar.gz", ".tgz", ".tar")

MOST_BYTES = {
    archive.DESCRIPTION: archive.MAX_DESCRIPTION_BYTES,
    archive.REFERENCE: 16 << 20,
    archive.WEIGHTS: 8 << 30,
}
"""The files that are read, and the most bytes that each may have."""
MOST_ARCHIVE_BYTES = 16 << 30
"""Of everything in the archive, unpacked: a few kilobytes can be made to hold terabytes."""
MOST_MEMBERS = 10_000
NAMED_CLASSES = 10

BELOW = 1.0
"""By which a new class's logit is less than the mean of two known ones, so that it is never the
greatest, as a random row's often is; and the next class has another two, to be told apart by."""

Tensors = dict[str, torch.Tensor]


def identity(channels: dict[str, Path]) -> dict[str, str]:
    """What a checkpoint must know of the model: another one makes another run."""
    folder = channels.get(CHANNEL)
    if folder is None:
        return {}
    packed = _archives(folder)
    if packed:
        return {CHANNEL: archive.sha256(packed[0])[:16]}
    try:
        return {CHANNEL: archive.sha256(archive.find(folder) / archive.DESCRIPTION)[:16]}
    except archive.ArtifactError as error:
        raise _no_model(str(error)) from error


def check(inputs: dict[str, Channel]) -> None:
    """Raises ChannelError where it is not clear which weights are meant, or they cannot be read."""
    piped = [name for name in (CHANNEL, "pretrained") if name in inputs and inputs[name].piped]
    if piped:
        raise ChannelError(
            f"{' and '.join(piped)}: weights do not come through a pipe",
            "set the channel's InputMode to File; the photos' channels may stay in Pipe mode",
        )
    if CHANNEL in inputs and "pretrained" in inputs:
        raise ChannelError(
            "the channels model and pretrained both hold weights to start from",
            "give model to go on from an earlier job's model, pretrained for anything else",
        )


def load(
    made: nn.Module,
    chosen: Hyperparameters,
    preprocessing: Preprocessing,
    folder: Path,
    labels: list[str],
    say: Callable[[str], None],
) -> None:
    """Puts the earlier model's weights into the network, in place. Raises ModelError where there is
    none, PretrainedError where it is of another kind."""
    with _unpacked(folder) as found:
        try:
            description = archive.read_description(found)
            archive.check_files(found, description)
            weights: Tensors = load_file(found / archive.WEIGHTS)
        except (archive.ArtifactError, SafetensorError) as error:
            raise _no_model(str(error)) from error
    _refuse_misfit(description, chosen, preprocessing)
    remap(made, weights, description.labels, labels)
    _report(description.labels, labels, say)


def remap(made: nn.Module, weights: Tensors, old: list[str], new: list[str]) -> None:
    """The earlier weights everywhere; in the last layer a row per class, by its name."""
    own = made.state_dict()
    last = f"{_last_layer(made)}."
    rows = [(old.index(label), at) for at, label in enumerate(new) if label in old]
    fresh = [at for at, label in enumerate(new) if label not in old]
    expected = {key: (len(old), *value.shape[1:]) if key.startswith(last) else tuple(value.shape)
                for key, value in own.items()}  # fmt: skip
    if {key: tuple(value.shape) for key, value in weights.items()} != expected:
        raise _no_model("its tensors are not those of the network that model.json names")
    taken = dict(weights)
    for key in own:
        if key.startswith(last):
            taken[key] = own[key].clone()
            if rows:
                known = weights[key][[before for before, _ in rows]]
                midway = (known + known.roll(1, 0)) / 2 - (BELOW if key == f"{last}bias" else 0)
                for at, now in enumerate(fresh):
                    taken[key][now] = midway[at % len(rows)]
            for before, now in rows:
                taken[key][now] = weights[key][before]
    made.load_state_dict(taken, strict=True)


def _last_layer(made: nn.Module) -> str:
    """The layer with a row per class; extra layers of the head come before it."""
    path = network.head_path(made)
    head = made.get_submodule(path)
    return f"{path}.{len(head) - 1}" if isinstance(head, network.Head) else path


def _refuse_misfit(
    description: Description, chosen: Hyperparameters, preprocessing: Preprocessing
) -> None:
    """Every difference at once."""
    theirs = {
        "network": description.network,
        "hidden_units": description.hidden_units,
        **description.preprocessing.as_dict(),
    }
    ours = {
        "network": chosen.network,
        "hidden_units": chosen.hidden_units,
        **preprocessing.as_dict(),
    }
    differ = [name for name in theirs if theirs[name] != ours[name]]
    if differ:
        values = asdict(chosen)
        settable = [f"{name}={theirs[name]}" for name in differ if name in values]
        raise PretrainedError(
            "the model channel's model is of another kind: "
            + ", ".join(f"{name} is {theirs[name]}, the job's {ours[name]}" for name in differ),
            f"set {', '.join(settable)}" if settable else "train without the model channel",
        )


def _report(old: list[str], new: list[str], say: Callable[[str], None]) -> None:
    kept = [label for label in new if label in old]
    parts = [f"{len(kept)} of {len(old)} classes go on"]
    for what, labels in (
        ("new", [label for label in new if label not in old]),
        ("without photos, so no longer in the model", [x for x in old if x not in new]),
    ):
        if labels:
            more = ", ..." if len(labels) > NAMED_CLASSES else ""
            parts.append(f"{len(labels)} {what}: {', '.join(labels[:NAMED_CLASSES])}{more}")
    say(f"model channel: {'; '.join(parts)}")
    if not kept:
        say("warning: the model channel's model shares no class with this data; its backbone is "
            "taken all the same")  # fmt: skip


def _no_model(cause: str) -> ModelError:
    return ModelError(
        f"the model channel: {cause}",
        "give it the model.tar.gz of a job of this image, or what is in it",
    )


def _archives(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if path.name.endswith(ARCHIVES))
    packed = [path for path in paths if path.is_file() and not path.name.startswith(".")]
    if len(packed) > 1:
        raise _no_model(f"{len(packed)} archives: {', '.join(path.name for path in packed[:5])}")
    return packed


@contextmanager
def _unpacked(folder: Path) -> Iterator[Path]:
    """The folder with model.json, unpacked for as long as it is needed where it is an archive."""
    packed = _archives(folder)
    if not packed:
        try:
            yield archive.find(folder)
        except archive.ArtifactError as error:
            raise _no_model(str(error)) from error
        return
    with tempfile.TemporaryDirectory(prefix="model-") as temporary:
        try:
            _unpack(packed[0], Path(temporary))
        except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
            raise _no_model(f"{packed[0].name} cannot be unpacked: {error}") from error
        yield Path(temporary)


def _unpack(packed: Path, into: Path) -> None:
    """Takes out the files that an artifact has and nothing else, under names of ours: no path, link
    or device of the archive is ever followed. Raises ValueError."""
    seen = total = 0
    folders: set[str] = set()
    # one pass: seeking back in a compressed file would unpack it again
    with tarfile.open(packed, "r|*", tarinfo=CheckedHeader) as tar:
        for member in tar:
            seen, total = seen + 1, total + member.size
            if seen > MOST_MEMBERS or total > MOST_ARCHIVE_BYTES:
                raise ValueError(
                    f"more than {MOST_MEMBERS} files or {MOST_ARCHIVE_BYTES >> 30} GiB"
                )
            parent, _, name = member.name.removeprefix("./").rpartition("/")
            if name not in MOST_BYTES or parent.count("/") >= archive.NESTED_LEVELS:
                continue
            source = tar.extractfile(member) if member.isreg() else None
            if source is None or (into / name).exists():
                raise ValueError(f"{member.name} is a link, or there twice")
            if member.size > MOST_BYTES[name]:
                raise ValueError(f"{member.name} has {member.size} bytes")
            folders.add(parent)
            with (into / name).open("wb") as file:
                shutil.copyfileobj(source, file)
    missing = sorted(name for name in MOST_BYTES if not (into / name).exists())
    if missing or len(folders) != 1:
        raise ValueError(f"{', '.join(missing) or 'files of several models'}"
                         f"{' missing' if missing else ''}")  # fmt: skip
