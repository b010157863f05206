"""A folder to S3: what is there already, byte for byte, is not sent again.

An upload that was interrupted goes on with what is missing. Both sides are gone through in the
order of their names, so that memory holds the names of one side and a page of the other.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from tqdm import tqdm

from jobs.aws import CommandError, split

THREADS = 16
WAITING = 4 * THREADS
"""Files that are queued at a time."""
EXAMPLES = 5
MOST_DELETED = 1000
"""In one request: API/DeleteObjects."""
PART = 16 << 20
"""Bytes: from here on S3's checksum is one of parts."""
DIGEST = "sha256"
"""Metadata of our own: of files in several parts, and of encrypted ones, S3 tells no MD5."""


@dataclass
class Sent:
    files: int = 0
    bytes: int = 0
    there: int = 0
    """Files that were there already."""
    gone: int = 0
    """Objects that the folder has no file for; deleted where that was asked for."""
    examples: list[str] = field(default_factory=list)


def upload(s3: Any, folder: Path, uri: str, prune: bool = False, show: bool = True) -> Sent:
    """Raises CommandError where the folder holds nothing, or what cannot be sent. `prune` deletes
    what the folder does not have."""
    bucket, prefix = split(uri)
    prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    names = listed(folder)
    if not names:
        raise CommandError(f"{folder} holds no files", "name the folder with the photos")
    sent, running = Sent(), set[Future[int]]()
    config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)
    remote = _remote(s3, bucket, prefix)
    bar = tqdm(total=len(names), desc=f"{folder.name} to {uri}", unit=" files", disable=not show)
    with bar, ThreadPoolExecutor(THREADS) as pool:

        def done(futures: set[Future[int]]) -> None:
            for future in futures:
                size = future.result()
                sent.there += size < 0
                sent.files += size >= 0
                sent.bytes += max(0, size)
                bar.update()

        stale: list[str] = []

        def passed(raw: bytes) -> None:
            sent.gone += 1
            name = raw.decode("utf-8")
            if len(sent.examples) < EXAMPLES:
                sent.examples.append(name)
            if prune:
                stale.append(f"{prefix}{name}")
                if len(stale) == MOST_DELETED:
                    delete(s3, bucket, stale)
                    stale.clear()

        at = next(remote, None)
        for raw in names:
            while at is not None and at[0] < raw:
                passed(at[0])
                at = next(remote, None)
            there = None
            if at is not None and at[0] == raw:
                there, at = at[1:], next(remote, None)
            name = os.fsdecode(raw)
            key = f"{prefix}{name}"
            running.add(pool.submit(_send, s3, folder / name, bucket, key, there, config))
            if len(running) >= WAITING:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                done(ended)
        done(running)
        while at is not None:
            passed(at[0])
            at = next(remote, None)
        if stale:
            delete(s3, bucket, stale)
    return sent


def delete(s3: Any, bucket: str, keys: list[str]) -> None:
    """At most MOST_DELETED. Raises CommandError where S3 keeps one."""
    said = s3.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
    )
    if errors := said.get("Errors"):
        first = errors[0]
        raise CommandError(
            f"{len(errors)} objects stay in {bucket}, the first s3://{bucket}/{first['Key']}: "
            f"{first.get('Code')}: {first.get('Message')}",
            "allow s3:DeleteObject there; jobs/policies has what each command needs",
        )


def listed(folder: Path) -> list[bytes]:
    """Relative paths of all files but hidden ones, in S3's order. Raises CommandError where one has
    a name that no object can have."""
    names: list[bytes] = []
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(root, folder)
        for name in files:
            if not name.startswith("."):
                path = name if below == "." else f"{below}/{name}"
                names.append(os.fsencode(path))
    for raw in names:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            raise CommandError(
                f"{folder}: the file name {raw!r} is not UTF-8", "rename it: S3 takes no other"
            ) from None
    return sorted(names)


def _remote(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[bytes, int, str]]:
    """Name below the prefix, bytes, ETag; in the order of names."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for each in page.get("Contents", []):
            name = each["Key"][len(prefix) :].encode("utf-8")
            yield name, each["Size"], each["ETag"].strip('"')


def _send(
    s3: Any, path: Path, bucket: str, key: str, there: tuple[int, str] | None, config: Any
) -> int:
    """Bytes that were sent; -1 where the same file is there."""
    size = path.stat().st_size
    if there is not None and there[0] == size and _same(s3, path, bucket, key, there[1]):
        return -1
    more = {
        "ChecksumAlgorithm": "SHA256",
        "Metadata": {DIGEST: digest(path, hashlib.sha256())},
    }
    if size >= PART:
        s3.upload_file(str(path), bucket, key, Config=config, ExtraArgs=more)
    else:
        s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), **more)
    return size


def _same(s3: Any, path: Path, bucket: str, key: str, tag: str) -> bool:
    """By the MD5 that S3 has for a plain file in one part, else by our own digest beside it."""
    if digest(path, hashlib.md5(usedforsecurity=False)) == tag:
        return True
    said = s3.head_object(Bucket=bucket, Key=key).get("Metadata", {}).get(DIGEST)
    return said is not None and said == digest(path, hashlib.sha256())


def digest(path: Path, into: Any) -> str:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            into.update(block)
    return str(into.hexdigest())
