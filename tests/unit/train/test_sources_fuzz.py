"""Damaged files of every format: a reading, or an error that somebody can act on; nothing else."""

import io
import json
import os
import struct
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from container.failure import ChannelError, DataError
from tests import packed
from train import channels
from train.pieces import read_at
from train.sources import layout, pipe, rec, recordio
from train.sources.request import ContentType, Request

JPEG = b"\xff\xd8\xff photo of some length"
GIVEN = [
    packed.Photo(f"{c}/{at}.jpg", number, JPEG) for number, c in enumerate("ab") for at in "12"
]


def archive():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as file:
        for one in GIVEN:
            for name, data in ((one.name, one.data), (one.name[:-3] + "cls", b"%d" % one.target)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                member.pax_headers = {"comment": "long" * 9}
                file.addfile(member, io.BytesIO(data))
    return stream.getvalue()


PAIRS = "pairs.rec"
"""What came through the pipe of an augmented manifest."""

SEEDS = {
    PAIRS: b"".join(
        packed.record(part)
        for one in GIVEN
        for part in (one.data, b"%d" % one.target, b'{"class-map": {"0": "ant", "1": "bee"}}')
    ),
    "a.rec": packed.rec(GIVEN),
    "a.tar": archive(),
    "a.lst": "".join(f"{at}\t{one.target}\t{one.name}\n" for at, one in enumerate(GIVEN)).encode(),
    "a.csv": ("path,label\n" + "".join(f"{one.name},{one.target}\n" for one in GIVEN)).encode(),
    "a.jsonl": "\n".join(
        json.dumps({"source-ref": f"s3://b/{one.name}", "c": one.target,
                    "c-metadata": {"class-map": {"0": "ant", "1": "bee"}}})
        for one in GIVEN
    ).encode(),
    "labels.json": b'{"0": "ant", "1": "bee"}',
    "labels.txt": b"ant\nbee\n",
}  # fmt: skip

FEW = settings(
    max_examples=5000 if os.environ.get("SOAK") == "1" else 150, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip

DAMAGE = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.binary(max_size=12)), min_size=1, max_size=4
)
"""Where, how many bytes go, and what comes instead."""


def damaged(content, damage):
    for share, gone, instead in damage:
        at = int(share * len(content))
        content = content[:at] + instead + content[at + gone :]
    return content


def read(folder, name, content):
    for one in GIVEN:
        path = folder / "photos" / one.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.data)
    lists = folder / "lists"
    lists.mkdir()
    if name.startswith("labels"):
        (lists / "a.lst").write_bytes(SEEDS["a.lst"])
    (lists / name).write_bytes(content)
    if name == PAIRS:
        request = Request("train", layout.empty(lists), ContentType())
        index = pipe.read(request, lists / name).index
        return channels.Splits(["ant", "bee"], index, index, None)
    if name.endswith((".rec", ".tar")):
        return channels.read({"train": lists}, seed=0)
    return channels.read({"train": folder / "photos", "train_lst": lists}, seed=0)


@pytest.mark.parametrize("name", SEEDS)
@FEW
@given(damage=DAMAGE)
def test_a_damaged_file_is_read_or_refused(name, damage):
    with tempfile.TemporaryDirectory() as folder:
        try:
            splits = read(Path(folder), name, damaged(SEEDS[name], damage))
        except (DataError, ChannelError):
            pass
        else:
            assert all(len(index.read(at)) >= 0 for index in splits.indexes.values()
                       for at in range(len(index)))  # fmt: skip


@pytest.mark.parametrize("name", SEEDS)
def test_the_files_are_read_as_they_are(tmp_path, name):
    assert len(read(tmp_path, name, SEEDS[name]).labels) == 2


@FEW
@given(content=st.binary(max_size=300))
def test_any_bytes_survive_a_record(content):
    magic = struct.pack("<I", recordio.MAGIC)
    for data in (content, magic + content + magic, content + magic * 3):
        assert recordio.payload(packed.record(data)) == data


@FEW
@given(records=st.lists(st.binary(max_size=40), max_size=5))
def test_records_are_found_where_they_are(records):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.rec"
        path.write_bytes(b"".join(map(packed.record, records)))

        places = list(rec.records(path, path.stat().st_size))

        assert [recordio.payload(read_at(path, *place)) for place in places] == records
