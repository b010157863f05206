"""The same photos in every format that a channel may have."""

import csv
import io
import json
import os
import struct
import tarfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.tree import COLOURS, Tree, photo
from train.sources.recordio import FIRST, FRAME, IMAGE, LAST, LENGTH_BITS, MAGIC, MIDDLE, WHOLE

LABELS = sorted(COLOURS)


@dataclass(frozen=True)
class Photo:
    name: str
    """`class/class-000.jpg`"""
    target: int
    data: bytes


def photos(per_class: int, seed: int = 0) -> list[Photo]:
    return [
        Photo(
            f"{label}/{label}-{at:03d}.jpg", target, photo(COLOURS[label], seed + 97 * target + at)
        )
        for target, label in enumerate(LABELS)
        for at in range(per_class)
    ]


def record(data: bytes) -> bytes:
    """In RecordIO frames, as MXNet's writer makes them: cut where the data has the magic number."""
    magic = struct.pack("<I", MAGIC)
    cuts = [at for at in range(0, len(data) - 3, 4) if data[at : at + 4] == magic]
    pieces = [
        data[a:b] for a, b in zip([0, *(at + 4 for at in cuts)], [*cuts, len(data)], strict=True)
    ]
    framed = b""
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        part = WHOLE if not cuts else LAST if last else MIDDLE if number else FIRST
        framed += (
            FRAME.pack(MAGIC, part << LENGTH_BITS | len(piece)) + piece + bytes(-len(piece) % 4)
        )
    return framed


def image_record(data: bytes, labels: Iterable[float], number: int) -> bytes:
    """As im2rec packs a photo: one label in the header, several behind it."""
    given = list(labels)
    if len(given) == 1:
        return record(IMAGE.pack(0, given[0], number, 0) + data)
    head = IMAGE.pack(len(given), 0.0, number, 0) + struct.pack(f"<{len(given)}f", *given)
    return record(head + data)


def tar(path: Path, members: Iterable[tuple[str, bytes]], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def files(folder: Path, given: list[Photo]) -> None:
    for one in given:
        path = folder / one.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.data)


def flat(folder: Path, given: list[Photo]) -> list[Photo]:
    """All in one folder, so that their folder tells nothing."""
    moved = [Photo(f"images/{one.name.replace('/', '_')}", one.target, one.data) for one in given]
    files(folder, moved)
    return moved


def names_file(folder: Path) -> None:
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")


def as_folders(tree: Tree, split: str, given: list[Photo]) -> None:
    files(tree.data(split), given)


def as_manifest(tree: Tree, split: str, given: list[Photo]) -> None:
    """The platform has copied what the manifest names, and the manifest itself."""
    files(tree.data(split), given)
    text = json.dumps([{"prefix": "s3://bucket/photos/"}, *(one.name for one in given)])
    (tree.data(split) / "photos.manifest").write_text(text)


def as_lst(tree: Tree, split: str, given: list[Photo]) -> None:
    """In the two channels of the built-in algorithm, the lines in no order."""
    lines = [f"{at}\t{one.target:f}\t{one.name}\n" for at, one in enumerate(given)]
    files(tree.data(split), given)
    names_file(tree.data(f"{split}_lst"))
    (tree.data(f"{split}_lst") / "list.lst").write_text("".join(reversed(lines)))


def as_csv(tree: Tree, split: str, given: list[Photo]) -> None:
    moved = flat(tree.data(split), given)
    with (tree.data(split) / "photos.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        writer.writerows([one.name, LABELS[one.target]] for one in reversed(moved))


def as_augmented(tree: Tree, split: str, given: list[Photo]) -> None:
    moved = flat(tree.data(split), given)
    lines = [
        json.dumps({
            "source-ref": f"s3://bucket/some/prefix/{one.name}",
            "kind": one.target,
            "kind-metadata": {"class-name": LABELS[one.target], "human-annotated": "yes"},
        })
        for one in reversed(moved)
    ]  # fmt: skip
    (tree.data(split) / "output.manifest").write_text("\n".join(lines) + "\n")


def rec(given: list[Photo]) -> bytes:
    return b"".join(image_record(one.data, [one.target], at) for at, one in enumerate(given))


def as_rec(tree: Tree, split: str, given: list[Photo]) -> None:
    names_file(tree.data(split))
    (tree.data(split) / f"{split}.rec").write_bytes(rec(given))


def as_tar(tree: Tree, split: str, given: list[Photo]) -> None:
    """Shards that take turns, with a label beside each photo."""
    names_file(tree.data(split))
    for shard in range(3):
        tar(
            tree.data(split) / f"{shard:05d}.tar",
            (
                member
                for one in given[shard::3]
                for member in [
                    (one.name, one.data),
                    (one.name.replace(".jpg", ".cls"), str(one.target).encode()),
                ]
            ),
        )


def as_tar_of_folders(tree: Tree, split: str, given: list[Photo]) -> None:
    tar(tree.data(split) / "photos.tar", ((f"./{one.name}", one.data) for one in given))


def pipe(tree: Tree, split: str, content: bytes) -> None:
    """Written by a thread, as the platform's agent does it: once somebody reads."""
    base = tree.data(split)
    base.rmdir()
    path = base.with_name(f"{split}_0")
    os.mkfifo(path)
    threading.Thread(target=lambda: path.write_bytes(content), daemon=True).start()


def as_piped_rec(tree: Tree, split: str, given: list[Photo]) -> None:
    names_file(tree.data(f"{split}_lst"))
    pipe(tree, split, rec(given))


def as_piped_manifest(tree: Tree, split: str, given: list[Photo]) -> None:
    said = [(one.data, str(one.target), {"class-name": LABELS[one.target]}) for one in given]
    content = [part for data, label, metadata in said
               for part in (data, label.encode(), json.dumps(metadata).encode())]  # fmt: skip
    pipe(tree, split, b"".join(map(record, content)))


Pack = Callable[[Tree, str, list[Photo]], None]

FORMATS: dict[str, tuple[Pack, dict[str, str]]] = {
    "folders": (as_folders, {"TrainingInputMode": "FastFile"}),
    "manifest": (as_manifest, {}),
    "lst": (as_lst, {"ContentType": "application/x-image"}),
    "csv": (as_csv, {}),
    "augmented": (as_augmented, {}),
    "rec": (as_rec, {"ContentType": "application/x-recordio"}),
    "tar": (as_tar, {}),
    "tar of folders": (as_tar_of_folders, {}),
    "piped rec": (as_piped_rec, {"TrainingInputMode": "Pipe", "RecordWrapperType": "None"}),
    "piped manifest": (
        as_piped_manifest, {"TrainingInputMode": "Pipe", "RecordWrapperType": "RecordIO"},
    ),
}  # fmt: skip
"""Name -> what packs the photos into a channel, and the channel's settings."""


def fill(tree: Tree, name: str, splits: dict[str, list[Photo]]) -> None:
    """A job's channels in one format."""
    pack, settings = FORMATS[name]
    for split, given in splits.items():
        pack(tree, split, given)
    folder = tree.root / "input" / "data"
    channels = {path.name.removesuffix("_0") for path in folder.iterdir()}
    tree.config(
        "inputdataconfig.json",
        {name: {} if name.endswith("_lst") else settings for name in sorted(channels)},
    )
