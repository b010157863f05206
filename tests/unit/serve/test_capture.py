"""What is kept of photos that the model is not sure of, and that nothing waits for it."""

import io
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from container.failure import SettingError
from container.settings import Settings
from serve.answer import Outcome
from serve.capture import OUTCOMES, PENDING_BYTES, Capture
from serve.payload import Item
from tests import make

LABELS = ["red", "green", "blue"]
PIXELS = np.asarray(make.picture(20, 10))
PLANES = np.zeros((3, 4, 4), np.float32)
UNSURE, SURE = Outcome(np.array([0.4, 0.3, 0.3], np.float32)), Outcome(np.float32([0.9, 0.1, 0]))


def capture(folder: Path, **settings: Any) -> Capture:
    return Capture(Settings(capture_folder=str(folder), capture_percent=100, **settings))


def offer(to: Capture, body: bytes, images: list[Any], outcomes: list[Outcome]) -> None:
    items = [Item(image=image) for image in images]
    to.offer("m", LABELS, body, len(items) == 1, items, outcomes)


def settled(one: Capture, count: int) -> dict[str, int]:
    deadline = time.monotonic() + 10
    while sum(one.counts[each] for each in OUTCOMES) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return dict(one.counts)


def test_one_photo_is_kept_as_sent_and_the_sure_ones_are_not(tmp_path: Path) -> None:
    kept = capture(tmp_path / "New Folder" / "x")
    photo = make.photo("TIFF")
    offer(kept, photo, [PIXELS], [SURE])
    offer(kept, photo, [PIXELS], [Outcome()])
    offer(kept, photo, [PIXELS], [UNSURE])
    counts = settled(kept, 1)
    (path,) = (tmp_path / "New Folder" / "x").glob("*.json")
    told = json.loads(path.read_text())

    assert counts == {"written": 1}
    assert path.with_name(told["photo"]).read_bytes() == photo
    assert path.with_name(told["photo"]).suffix == ".tif"
    assert [each["label"] for each in told["top_k"]] == LABELS
    assert len(list(path.parent.iterdir())) == 2


def test_of_several_the_pixels_or_numbers_are_kept(tmp_path: Path) -> None:
    kept = capture(tmp_path)
    offer(kept, b'{"instances": ...}', [PIXELS, PLANES, PIXELS], [UNSURE, UNSURE, SURE])
    counts = settled(kept, 2)
    (png,), (npy,) = tmp_path.glob("*.png"), tmp_path.glob("*.npy")

    assert counts == {"written": 2}
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png.read_bytes()))), PIXELS)
    np.testing.assert_array_equal(np.load(npy, allow_pickle=False), PLANES)


def test_a_share_is_drawn(tmp_path: Path) -> None:
    kept = Capture(Settings(capture_folder=str(tmp_path), capture_percent=50))
    for _ in range(200):
        offer(kept, b"", [PLANES], [UNSURE])
    time.sleep(0.5)
    drawn = settled(kept, 56)["written"]

    # outside of this once in more than a hundred million times
    assert 56 <= drawn <= 144


def test_the_folder_never_holds_more_than_its_bytes_nor_after_a_restart(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3)).astype(np.uint8)
    photo = make.encode(Image.fromarray(noise), "PNG")  # does not compress: 0.48 MB
    (tmp_path / "mine.txt").write_bytes(b"x" * 900_000)  # not ours: it does not count
    (tmp_path / ".20300101T000000-1-000001.png.partial").write_bytes(b"left by a kill")
    first = capture(tmp_path, capture_mib=1)
    for _ in range(4):
        offer(first, photo, [PIXELS], [UNSURE])
    counts = settled(first, 4)
    again = capture(tmp_path, capture_mib=1)
    offer(again, photo, [PIXELS], [UNSURE])

    assert counts == {"written": 2, "full": 2}
    assert settled(again, 1) == {"full": 1}
    assert len(list(tmp_path.glob("*.png"))) == len(list(tmp_path.glob("2*.json"))) == 2
    assert not list(tmp_path.glob("*.partial"))


def test_a_folder_that_vanishes_costs_photos_only(tmp_path: Path) -> None:
    kept = capture(tmp_path / "x")
    shutil.rmtree(tmp_path / "x")
    offer(kept, make.photo(), [PIXELS], [UNSURE])
    counts = settled(kept, 1)
    (tmp_path / "x").mkdir()
    offer(kept, make.photo(), [PIXELS], [UNSURE])

    assert counts == {"failed": 1}
    assert settled(kept, 2) == {"failed": 1, "written": 1}


def test_what_waits_is_bounded_and_nobody_waits_for_a_slow_disk(tmp_path: Path) -> None:
    kept = capture(tmp_path, capture_mib=1000)
    large = b"\xff\xd8" + bytes(PENDING_BYTES // 4)
    start = time.monotonic()
    for _ in range(50):
        offer(kept, large, [PIXELS], [UNSURE])
    took = time.monotonic() - start
    counts = settled(kept, 50)

    assert took < 2
    assert counts["dropped"] > 0
    assert counts["written"] + counts["dropped"] == 50


def test_a_folder_that_cannot_be_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError) as caught:
        capture(tmp_path / "file")

    assert "CAPTURE_FOLDER" in caught.value.details[0]
