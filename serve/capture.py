"""Photos that the model was not sure of, kept in a folder for people to look at and to label.

A sample of them, off unless a folder is set. What is to be kept is handed to one thread that
writes: a request never waits for the disk, and where the thread cannot keep up, or the folder has
its bytes, the photo is not kept. A `.json` is written after its photo, so that what it names is
there, whole.
"""

import io
import json
import logging
import os
import random
import re
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from container import log
from container.failure import SettingError
from container.settings import MIB, Settings
from serve.answer import Outcome
from serve.payload import Image, Item

PENDING_BYTES = 32 * MIB
"""Of photos that wait to be written."""
OURS = re.compile(r"\.?\d{8}T\d{6}-\d+-\d+\.(jpg|png|webp|bmp|tif|npy|bin|json)(\.partial)?")
MAGIC = (
    (b"\xff\xd8", "jpg"), (b"\x89PNG", "png"), (b"RIFF", "webp"), (b"BM", "bmp"),
    (b"II*\0", "tif"), (b"MM\0*", "tif"),
)  # fmt: skip
OUTCOMES = WRITTEN, DROPPED, FULL, FAILED = "written", "dropped", "full", "failed"
TOP = 5
"""Labels that are noted with a photo."""

logger = logging.getLogger("serve")


@dataclass(frozen=True)
class Case:
    """`photo` is what was sent, or the pixels that the network was given of it."""

    photo: bytes | Image
    facts: dict[str, Any]

    @property
    def bytes(self) -> int:
        return len(self.photo) if isinstance(self.photo, bytes) else self.photo.nbytes


class Capture:
    """`counts` says what became of the photos that were drawn."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingError where the folder cannot be written to."""
        self._folder = Path(settings.capture_folder)
        self._share = settings.capture_percent / 100
        self._below = settings.capture_below / 100
        self._limit = settings.capture_mib * MIB
        self.counts: Counter[str] = Counter()
        self._used = self._begin()
        self._pending: deque[Case] = deque()
        self._pending_bytes = 0
        self._changed = threading.Condition()
        self._number = 0
        self._told: set[str] = set()
        threading.Thread(target=self._run, name="capture", daemon=True).start()

    def _begin(self) -> int:
        """Bytes that earlier runs left in the folder; what they did not finish is removed."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            ours = [path for path in self._folder.iterdir() if OURS.fullmatch(path.name)]
            for path in ours:
                if path.suffix == ".partial":
                    path.unlink()
            probe = self._folder / f".{os.getpid()}.partial"
            probe.touch()
            probe.unlink()
            return sum(path.stat().st_size for path in ours if path.suffix != ".partial")
        except OSError as error:
            raise SettingError(
                "1 setting cannot be used",
                details=[f"CAPTURE_FOLDER={str(self._folder)!r}: {error.strerror}"],
            ) from error

    def offer(
        self,
        model: str,
        labels: Sequence[str],
        body: bytes,
        single: bool,
        items: Sequence[Item],
        outcomes: Sequence[Outcome],
    ) -> None:
        """Of one request that is about to be answered; costs no more than a look at its numbers."""
        for item, outcome in zip(items, outcomes, strict=True):
            row = outcome.probabilities
            if row is None or item.image is None or not float(row.max()) < self._below:
                continue
            if random.random() >= self._share:
                continue
            sent_as_it_is = single and body.startswith(tuple(magic for magic, _ in MAGIC))
            order = np.argsort(-row, kind="stable")[:TOP]
            facts = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "model": model,
                "inference_id": log.inference_id.get(),
                "top_k": [
                    {"label": labels[at], "probability": round(float(row[at]), 6)} for at in order
                ],
            }
            self._put(Case(body if sent_as_it_is else item.image, facts))

    def _put(self, case: Case) -> None:
        with self._changed:
            if self._pending_bytes + case.bytes > PENDING_BYTES:
                self.counts[DROPPED] += 1
                return
            self._pending.append(case)
            self._pending_bytes += case.bytes
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._pending:
                    self._changed.wait()
                case = self._pending.popleft()
                self._pending_bytes -= case.bytes
            self._keep(case)

    def _keep(self, case: Case) -> None:
        try:
            photo, suffix = _encoded(case.photo)
            self._number += 1
            # no word of the caller's is in a name
            stem = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{self._number:06d}"
            told = json.dumps({**case.facts, "photo": f"{stem}.{suffix}"}).encode()
            if self._used + len(photo) + len(told) > self._limit:
                self._tell(FULL, f"captured photos fill {self._limit >> 20} MiB; no more are kept")
                return
            self._write(f"{stem}.{suffix}", photo)
            self._write(f"{stem}.json", told)
            self.counts[WRITTEN] += 1
        except Exception as error:  # a defect in here must not end the thread
            self._tell(FAILED, f"a photo could not be captured: {error}")

    def _write(self, name: str, data: bytes) -> None:
        partial = self._folder / f".{name}.partial"
        try:
            partial.write_bytes(data)
            partial.replace(self._folder / name)
        finally:
            partial.unlink(missing_ok=True)
        self._used += len(data)

    def _tell(self, outcome: str, text: str) -> None:
        """Counted every time, and logged once."""
        self.counts[outcome] += 1
        if outcome not in self._told:
            self._told.add(outcome)
            logger.warning("%s", text)


def _encoded(photo: bytes | Image) -> tuple[bytes, str]:
    """Bytes as they are; pixels without a loss; the numbers of a tensor as .npy."""
    if isinstance(photo, bytes):
        suffix = next((name for magic, name in MAGIC if photo.startswith(magic)), "bin")
        return photo, suffix
    stream = io.BytesIO()
    if photo.dtype == np.uint8:
        Pillow.fromarray(photo).save(stream, "PNG")
        return stream.getvalue(), "png"
    np.save(stream, photo, allow_pickle=False)
    return stream.getvalue(), "npy"
