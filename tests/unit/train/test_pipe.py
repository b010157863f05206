"""Taking a pipe into a file: late pipes, none at all, full disks, streams that are no records."""

import os
import threading
import time

import pytest

from container.failure import ChannelError, DiskFullError
from container.opt_ml import Channel
from tests import packed
from train.sources import layout, pipe
from train.sources.request import ContentType, Request


def written(folder, content, late=0.0):
    """A pipe that appears `late` seconds from now, with its content."""
    path = folder / "train_0"

    def write():
        time.sleep(late)
        os.mkfifo(path)
        path.write_bytes(content)

    threading.Thread(target=write, daemon=True).start()
    return Channel(folder / "train", mode="Pipe")


def test_a_pipe_that_comes_late_is_waited_for_and_taken_whole(tmp_path):
    content = packed.record(b"a photo" * 100_000)

    taken = pipe.spool("train", written(tmp_path, content, late=0.2))

    assert taken.read_bytes() == content


def test_a_pipe_that_never_comes_is_named(tmp_path):
    with pytest.raises(ChannelError, match="no pipe .*train_0 after 0 s"):
        pipe.spool("train", Channel(tmp_path / "train", mode="Pipe"), wait_seconds=0.1)


def test_a_file_in_the_pipes_place_is_refused(tmp_path):
    (tmp_path / "train_0").write_bytes(b"")

    with pytest.raises(ChannelError, match="is no pipe"):
        pipe.spool("train", Channel(tmp_path / "train", mode="Pipe"))


def test_a_disk_that_would_be_full_is_named_before_it_is(tmp_path):
    with pytest.raises(DiskFullError, match="are kept for checkpoints") as caught:
        pipe.spool("train", written(tmp_path, packed.record(b"photo")), kept_free=1 << 60)

    assert "VolumeSizeInGB" in caught.value.fix


def test_photos_that_run_together_are_refused_at_the_first_bytes(tmp_path):
    with pytest.raises(ChannelError, match="which is no RecordIO"):
        pipe.spool("train", written(tmp_path, b"\xff\xd8\xff\xe0 photos"))


JPEG, HEIC = b"\xff\xd8\xff\xe0 photo", b"\0\0\0\x18ftypheic"


@pytest.mark.parametrize(
    ("photos", "label"),
    [
        pytest.param([JPEG, JPEG, JPEG], "BMW", id="a label like a photo's first bytes"),
        pytest.param([JPEG, HEIC, JPEG], "cat", id="a photo of another format"),
        pytest.param([b"", JPEG, JPEG], "cat", id="an empty photo"),
    ],
)
@pytest.mark.parametrize("metadata", [[], [b'{"confidence": 1}']], ids=["label", "and metadata"])
def test_photos_and_labels_are_told_apart(tmp_path, photos, label, metadata):
    labels = [label, "dog", label]
    parts = [part for photo, name in zip(photos, labels, strict=True)
             for part in (photo, name.encode(), *metadata)]  # fmt: skip

    taken = pipe.spool("train", written(tmp_path, b"".join(map(packed.record, parts))))
    listed = pipe.read(Request("train", layout.empty(taken.parent), ContentType()), taken)

    assert listed.labels == sorted({label, "dog"})
    assert sorted(map(listed.index.read, range(3))) == sorted(photos)
