"""What a job has left on S3 or in an archive, brought into a folder: only what a diagnosis reads,
within bounds."""

import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from debugger.evidence import folders

ARCHIVE = "output.tar.gz"
"""The platform's, of a job's output folder."""
MOST_OBJECTS = 200_000
"""Listed below one prefix."""
MOST_BYTES = 8 << 30
"""Downloaded in all; tensors beyond are left out, the newest first."""
ROOM_LEFT = 1 << 30
"""Bytes of the disk that a download leaves free."""
ENDS = (
    ".tfevents", "_collections.json", ".json", ".csv", ".jsonl", "failure", ARCHIVE,
    "training_job_end.ts", ".json.gz",
)  # fmt: skip
NOT_WANTED = ("model.tar.gz", ".safetensors", ".pth", ".jpg", ".jpeg", ".png")


class FetchError(ValueError):
    """The prefix cannot be read, or holds nothing; the words say what to do."""


def is_s3(place: str) -> bool:
    return place.startswith("s3://")


def fetch(place: str, folder: Path, say: Callable[[str], None]) -> Path:
    """Everything that a diagnosis reads below `s3://bucket/prefix`; returns the folder."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    try:
        client = boto3.client("s3")
        objects = _listed(client, bucket, prefix)
        if not objects:
            raise FetchError(f"{place}: nothing there that a diagnosis reads")
        room = _room(folder)
        taken, left = _within(objects, room)
        total = sum(each["Size"] for each in taken)
        say(f"{place}: {len(taken)} files, {total / 1e6:.1f} MB")
        if left:
            say(f"{left} files do not fit into {max(0, room) / 1e9:.1f} GB and are left out")
        lost = []
        for each in taken:
            try:
                _bring(client, bucket, prefix, each, folder)
            except (BotoCoreError, ClientError, OSError, ValueError) as error:
                lost.append(f"{each['Key']}: {error}")
    except (BotoCoreError, ClientError) as error:
        raise FetchError(f"{place}: {error}") from error
    if lost:
        say(f"{len(lost)} files could not be brought, such as {lost[0]}")
    for archive in folder.rglob(ARCHIVE):
        unpack(archive, archive.parent, say)
    return folder


def others(scratch: Path, say: Callable[[str], None]) -> Callable[[str], Path]:
    """What turns the place of another job that a rule names, a folder or an S3 prefix, into a
    folder; raises FetchError."""
    brought: dict[str, Path] = {}

    def bring(place: str) -> Path:
        if not is_s3(place):
            return Path(place)
        if place not in brought:
            folder = scratch / f"other-{len(brought)}"
            folder.mkdir()
            brought[place] = fetch(place, folder, say)
        return brought[place]

    return bring


def unpack_below(folder: Path, scratch: Path, say: Callable[[str], None]) -> list[Path]:
    """The archives of job outputs in a folder, each unpacked into one of its own in `scratch`; what
    lies unpacked beside its archive is not unpacked again."""
    made = []
    for number, (root, files) in enumerate(folders(folder)):
        if ARCHIVE in files and "metrics.jsonl" not in files:
            made.append(scratch / str(number))
            made[-1].mkdir()
            unpack(root / ARCHIVE, made[-1], say)
    return made


def _room(folder: Path) -> int:
    return min(MOST_BYTES, shutil.disk_usage(folder).free - ROOM_LEFT)


def _listed(client: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=f"{prefix}/" if prefix else ""
    )
    found: list[dict[str, Any]] = []
    for page in pages:
        for each in page.get("Contents", []):
            key = each["Key"]
            if key.endswith(ENDS) and not key.endswith(NOT_WANTED):
                found.append(each)
        if len(found) > MOST_OBJECTS:
            break
    return found


def _within(objects: list[dict[str, Any]], room: int) -> tuple[list[dict[str, Any]], int]:
    """Small files first of all, then tensors in the order of their steps."""
    ordered = sorted(objects, key=lambda each: (each["Key"].endswith(".tfevents"), each["Key"]))
    taken, used = [], 0
    for each in ordered:
        if used + each["Size"] <= room:
            used += each["Size"]
            taken.append(each)
    return taken, len(ordered) - len(taken)


def _bring(client: Any, bucket: str, prefix: str, each: dict[str, Any], folder: Path) -> None:
    relative = (
        PurePosixPath(each["Key"]).relative_to(prefix) if prefix else PurePosixPath(each["Key"])
    )
    if ".." in relative.parts or relative.is_absolute():
        return
    path = folder.joinpath(*relative.parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    client.download_file(bucket, each["Key"], str(path))
    written = each["LastModified"].timestamp()  # a rule asks when it was saved
    os.utime(path, (written, written))


def unpack(archive: Path, folder: Path, say: Callable[[str], None]) -> None:
    """Only files that a diagnosis reads, as many as fit, and none outside of the folder."""
    left = 0
    try:
        room = _room(folder)
        with tarfile.open(archive) as tar:
            for each in tar:
                wanted = each.name.endswith(ENDS) and not each.name.endswith(NOT_WANTED)
                if not (each.isfile() and wanted):
                    continue
                if each.size > room:
                    left += 1
                    continue
                try:
                    tar.extract(each, folder, filter="data")
                except tarfile.FilterError:  # it leads out of the folder
                    left += 1
                    continue
                room -= each.size
    except (OSError, tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        say(f"{archive.name} cannot be unpacked: {error}")
    if left:
        say(f"{archive.name}: {left} files do not fit or lead out of it, and are left out")
