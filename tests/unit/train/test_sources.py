"""Each format alone: what it makes of files as people write them, and what it refuses."""

import contextlib
import io
import json
import os
import re
import struct
import tarfile
from collections import Counter

import numpy as np
import pytest

from container.failure import ChannelError, DataError
from container.opt_ml import Channel
from tests import packed
from train import channels
from train.doctor.examine import Folders, examine

JPEG = b"\xff\xd8\xff photo "


def put(folder, files):
    """Files with their content; a list stands for empty photos."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def photos(*names):
    return {name: JPEG + name.encode() for name in names}


def read(folder, content_type="", **others):
    return channels.read({"train": Channel(folder, content_type=content_type), **others}, seed=0)


def rows(splits):
    """Name -> labels, of the photos of all splits."""
    found = {}
    for index in splits.indexes.values():
        for at in range(len(index)):
            target = index.targets[at]
            places = np.flatnonzero(target) if index.multi_label else [int(target)]
            found[index.name(at)] = [splits.labels[place] for place in places]
    return found


FOUR = photos("i/1.jpg", "i/2.jpg", "i/3.jpg", "i/4.jpg")
ANSWER = {"i/1.jpg": ["ant"], "i/2.jpg": ["bee"], "i/3.jpg": ["ant"], "i/4.jpg": ["bee"]}
BY_NUMBER = {name: ["0" if label == ["ant"] else "1"] for name, label in ANSWER.items()}
SEVERAL = {"i/1.jpg": ["ant"], "i/2.jpg": ["ant", "bee"], "i/3.jpg": [], "i/4.jpg": ["bee"]}
SEVERAL_NUMBERS = {"i/1.jpg": ["0"], "i/2.jpg": ["0", "1"], "i/3.jpg": [], "i/4.jpg": ["1"]}


def augmented(labels, **metadata):
    return "\n".join(
        json.dumps({"source-ref": f"s3://b/p/i/{at}.jpg", "kind": label, **metadata})
        for at, label in enumerate(labels, 1)
    )


CLASS_MAP = {"kind-metadata": {"class-map": {"0": "ant", "1": "bee"}}}


@pytest.mark.parametrize(
    ("files", "content_type", "expected"),
    [
        pytest.param({"l.lst": "7\t0\ti/1.jpg\n8\t1.000\ti/2.jpg\n\n9\t0\ti/3.jpg\n1\t1\ti/4.jpg"},
                     "", BY_NUMBER, id="lst"),
        pytest.param({"l.lst": "1\t0\ti/1.jpg\n2\t1\ti/2.jpg\n3\t0\ti/3.jpg\n4\t1\ti/4.jpg",
                      "labels.txt": "ant\nbee\n"}, "", ANSWER, id="lst with names"),
        pytest.param({"l.lst": "1\t1\t0\ti/1.jpg\n2\t1\t1\ti/2.jpg\n3\t0\t0\ti/3.jpg\n"
                      "4\t0\t1\ti/4.jpg"}, "", SEVERAL_NUMBERS, id="lst, 0 and 1 per class"),
        pytest.param({"l.lst": "1\t0\ti/1.jpg\n2\t0\t1\ti/2.jpg\n4\t1\ti/4.jpg"},
                     "application/x-image; label-format=class-id",
                     {name: value for name, value in SEVERAL_NUMBERS.items() if value},
                     id="lst, class numbers"),
        pytest.param({"a.csv": "image,label\ni/1.jpg,ant\ni/2.jpg,bee\ni/3.jpg,ant\ni/4.jpg,bee\n"},
                     "", ANSWER, id="csv"),
        pytest.param({"a.csv": "\ufeffid,file_name,class\r\n1,./i/1.jpg,ant\r\n2,i/2.jpg,bee\r\n"
                      '3,"i/3.jpg"," ant"\r\n4,s3://bucket/pre/i/4.jpg,bee\r\n'},
                     "", ANSWER, id="csv of a spreadsheet"),
        pytest.param({"a.csv": "i/1.jpg,ant\ni/2.jpg,bee\ni/3.jpg,ant\ni/4.jpg,bee"},
                     "text/csv", ANSWER, id="csv without header"),
        pytest.param({"a.csv": "path,labels\ni/1.jpg,ant\ni/2.jpg,bee|ant\ni/3.jpg,\ni/4.jpg,bee"},
                     "", SEVERAL, id="csv with bars"),
        pytest.param({"a.csv": "path,bee,ant\ni/1.jpg,0,1\ni/2.jpg,1,1\ni/3.jpg,0,0\ni/4.jpg,1,0"},
                     "", SEVERAL, id="csv with a column per class"),
        pytest.param({"m.jsonl": augmented(["ant", "bee", "ant", "bee"])}, "", ANSWER,
                     id="json lines"),
        pytest.param({"m.manifest": augmented([0, "1", 0, 1], **CLASS_MAP)}, "", ANSWER,
                     id="augmented manifest with a class map"),
        pytest.param({"m.manifest": augmented([[0], [1, 0], [], [1]], **CLASS_MAP)}, "", SEVERAL,
                     id="labelling job, several labels"),
        pytest.param({"m.manifest": augmented(["[1, 0]", "[1,1]", "[0,0]", "[0,1]"])}, "",
                     SEVERAL_NUMBERS, id="array as text"),
        pytest.param({"m.manifest": augmented([[0], [0, 1], [], [1]])},
                     "application/jsonlines;label-format=class-id", SEVERAL_NUMBERS,
                     id="class numbers"),
    ],
)  # fmt: skip
def test_a_list_gives_the_labels(tmp_path, files, content_type, expected):
    put(tmp_path, FOUR | files)

    splits = read(tmp_path, content_type, validation=Channel(tmp_path, content_type=content_type))

    assert rows(splits) == expected
    train = splits.train
    assert all(train.read(at).endswith(train.name(at).encode()) for at in range(len(train)))


def test_class_numbers_keep_their_order_and_those_without_photos_are_left_out(tmp_path):
    files = photos(*(f"{at}.jpg" for at in range(24)))
    lines = [f"{at}\t{at % 12 + (at % 12 > 4)}\t{at}.jpg" for at in range(24)]
    put(tmp_path, files | {"l.lst": "\n".join(lines)})

    splits = read(tmp_path, validation=Channel(tmp_path))

    assert splits.labels == ["0", "1", "2", "3", "4", "6", "7", "8", "9", "10", "11", "12"]


def test_records_with_several_labels_and_with_the_magic_number_inside(tmp_path):
    tricky = b"".join([struct.pack("<I", 0xCED7230A), b"1234", struct.pack("<I", 0xCED7230A)])
    data = [packed.image_record(JPEG + bytes(2) + tricky, [1, 0], 4),
            packed.image_record(JPEG, [1, 1], 3), packed.image_record(b"", [0, 1], 2)]  # fmt: skip
    put(tmp_path, {"a.rec": b"".join(data)})

    splits = read(tmp_path, validation=Channel(tmp_path))

    assert splits.train.targets.tolist() == [[0, 1], [1, 1], [1, 0]]
    assert [splits.train.read(at) for at in range(3)] == [b"", JPEG, JPEG + bytes(2) + tricky]


def test_an_archive_as_webdataset_writes_it(tmp_path):
    packed.tar(tmp_path / "a.tar", [
        ("x/0001.jpg", JPEG + b"1"), ("x/0001.json", b'{"label": "ant", "source": "web"}'),
        ("x/0002.txt", b"bee\n"), ("x/0002.png", JPEG + b"2"), ("x/._0002.png", b"mac"),
    ])  # fmt: skip
    packed.tar(tmp_path / "b.tar", [("x/0000.jpg", JPEG + b"0"), ("x/0000.cls", b"ant")])

    splits = read(tmp_path, validation=Channel(tmp_path))

    names = [splits.train.name(at) for at in range(3)]
    assert names == ["b.tar/x/0000.jpg", "a.tar/x/0001.jpg", "a.tar/x/0002.png"]
    assert splits.train.targets.tolist() == [0, 0, 1]
    assert [splits.train.read(at)[-1:] for at in range(3)] == [b"0", b"1", b"2"]


def test_files_of_one_channel_may_be_its_splits(tmp_path):
    for name, count in (("train-0.tar", 4), ("train-1.tar", 4), ("val.tar", 2), ("test.tar", 1)):
        members = [(f"{c}/{name}{at}.jpg", JPEG) for c in "ab" for at in range(count)]
        packed.tar(tmp_path / name, members)

    splits = read(tmp_path)

    assert {split: len(index) for split, index in splits.indexes.items()} == {
        "train": 16, "validation": 4, "test": 2,
    }  # fmt: skip


def test_a_sharded_channel_is_known_as_one_and_stays_one(tmp_path):
    put(tmp_path, photos(*(f"{c}/{at}.jpg" for c in "ab" for at in range(10))))
    shard = Channel(tmp_path, distribution="ShardedByS3Key")

    splits = channels.read({"train": shard, "validation": tmp_path}, seed=0)

    assert splits.sharded
    assert channels.subset(splits.train, 0.5, 0).sharded
    assert not splits.validation.sharded


LISTS = {
    "lst": {"l.lst": "1\t0\ti/1.jpg\n2\t1\ti/2.jpg\n3\t0\ti/3.jpg\n4\t1\ti/4.jpg"},
    "csv": {"l.csv": "path,label\ni/1.jpg,0\ni/2.jpg,1\ni/3.jpg,0\ni/4.jpg,1"},
    "augmented": {"l.manifest": augmented([0, 1, 0, 1])},
}


def shards(root, files, *parts):
    """What each host reads of its part of the photos, and of the list that all of them have."""
    put(root / "list", files)
    for number, part in enumerate(parts):
        put(root / f"{number}", photos(*part))
        shard = Channel(root / f"{number}", distribution="ShardedByS3Key")
        given = {"train": shard, "train_lst": root / "list"}
        yield channels.read(given, seed=0, agree=lambda labels: ["0", "1"])


@pytest.mark.parametrize("files", LISTS.values(), ids=LISTS)
def test_each_host_takes_from_the_list_what_it_has(tmp_path, files):
    one, two, none = shards(
        tmp_path, files, ["i/1.jpg", "i/2.jpg", "i/3.jpg"], ["i/4.jpg"], ["other.jpg"]
    )

    assert rows(one) == {"i/1.jpg": ["0"], "i/2.jpg": ["1"], "i/3.jpg": ["0"]}
    assert rows(two) == {"i/4.jpg": ["1"]}
    assert rows(none) == {}
    said = [each.absent["train"].bits() for each in (one, two, none)]
    assert len({each.absent["train"].digest() for each in (one, two, none)}) == 1
    one.absent["train"].check(said)


@pytest.mark.parametrize("files", LISTS.values(), ids=LISTS)
def test_an_entry_that_no_host_has_is_named(tmp_path, files):
    one, two = shards(tmp_path, files, ["i/1.jpg", "i/2.jpg"], ["i/4.jpg"])

    with pytest.raises(DataError, match="1 entries cannot be used") as caught:
        one.absent["train"].check([each.absent["train"].bits() for each in (one, two)])
    told = str(caught.value)
    assert re.search("line [34]: no host has the file of '[^\n]*i/3.jpg", told)
    assert "i/4.jpg" not in told


def test_a_path_that_leads_out_of_a_shard_is_no_other_hosts(tmp_path):
    with pytest.raises(DataError, match=r"'../1.jpg' has an empty, '.' or '..' part"):
        list(shards(tmp_path, {"l.lst": "1\t0\t../1.jpg"}, ["i/1.jpg"]))


def test_labels_of_all_hosts_keep_every_hosts_order():
    assert channels.union([["0", "2", "10"], ["1", "2"]]) == ["0", "1", "2", "10"]
    assert channels.union([["b", "d"], ["a", "b", "c"]]) == ["a", "b", "c", "d"]
    assert channels.union([["zoo", "ant", "bee"], ["ant", "cat", "bee"]]) == [
        "zoo", "ant", "cat", "bee",
    ]  # fmt: skip
    assert channels.union([["b", "a"], ["a", "b"]]) == ["a", "b"]


@pytest.mark.parametrize("several", [False, True])
def test_targets_move_with_the_labels(tmp_path, several):
    label = "bee|cat" if several else "bee"
    put(
        tmp_path,
        photos("i/1.jpg", "i/2.jpg") | {"a.csv": f"path,label\ni/1.jpg,ant\ni/2.jpg,{label}"},
    )
    before = read(tmp_path, validation=Channel(tmp_path))

    after = channels.with_labels(before, ["aardvark", "ant", "bat", "bee", "cat"])

    assert rows(after) == rows(before)


def test_hosts_may_agree_on_classes_that_this_one_has_no_photos_of(tmp_path):
    put(tmp_path, photos("a/1.jpg", "c/1.jpg"))

    splits = channels.read(
        {"train": tmp_path, "validation": tmp_path}, 0, lambda own: channels.union([own, ["b"]])
    )

    assert splits.labels == ["a", "b", "c"]
    assert splits.train.targets.tolist() == [0, 2]


class Entry:
    """A folder's entry that notes who asks for its size."""

    def __init__(self, entry, asked):
        self.name, self.path = entry.name, entry.path
        self.is_dir, self.is_symlink = entry.is_dir, entry.is_symlink
        self._stat, self._asked = entry.stat, asked

    def stat(self, **options):
        self._asked.append(self.path)
        return self._stat(**options)


def test_every_folder_is_listed_once_and_no_file_is_asked_for_its_size(tmp_path, monkeypatch):
    names = [f"{c}/{d}/{at}.jpg" for c in "abc" for d in "xy" for at in range(5)]
    put(tmp_path, photos(*names))
    listed, asked = Counter(), []

    @contextlib.contextmanager
    def scandir(path, real=os.scandir):
        listed[str(path)] += 1
        with real(path) as entries:
            yield (Entry(entry, asked) for entry in entries)

    def noting(real):
        def stat(path, *others, **options):
            asked.append(str(path))
            return real(path, *others, **options)

        return stat

    for name in ("stat", "lstat"):
        monkeypatch.setattr(os, name, noting(getattr(os, name)))
    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.delattr(os, "listdir")
    splits = read(tmp_path)
    examine(splits.indexes, Folders(), print)

    assert len(splits.train) + len(splits.validation) == 30
    assert len(listed) == 10
    assert set(listed.values()) == {1}
    assert asked
    assert not [path for path in asked if path.endswith(".jpg")]


BAD_PATH = "path,label\ni/1.jpg,ant\n{},bee\n"


@pytest.mark.parametrize(
    ("files", "content_type", "error", "message"),
    [
        pytest.param({"a.csv": BAD_PATH.format("../secret.jpg")}, "", DataError,
                     "line 3: '../secret.jpg' has an empty, '.' or '..' part", id="traversal"),
        pytest.param({"a.csv": BAD_PATH.format("/etc/passwd")}, "", DataError,
                     "line 3: '/etc/passwd' is an absolute path", id="absolute"),
        pytest.param({"a.csv": BAD_PATH.format("s3://b/../../etc/passwd")}, "", DataError,
                     "has an empty, '.' or '..' part", id="traversal in a URI"),
        pytest.param({"a.csv": BAD_PATH.format("file:///etc/passwd")}, "", DataError,
                     "only s3:// URIs", id="another scheme"),
        pytest.param({"a.csv": BAD_PATH.format("i/linked.jpg")}, "", DataError,
                     "'i/linked.jpg' is no file of the channel", id="link to the outside"),
        pytest.param({"a.csv": BAD_PATH.format("away/secret.jpg")}, "text/csv", DataError,
                     "'away/secret.jpg' is no file of the channel", id="linked folder"),
        pytest.param({"l.lst": "1\t0\ti/1.jpg\n2\t0.5\ti/2.jpg\n3\t-1\ti/3.jpg\n4 0 i/4.jpg\n"},
                     "", DataError, "l.lst: 3 entries cannot be used\nline 2: the label 0.5 is no "
                     "class number from 0 to 99999\nline 3: the label -1.0 is no",
                     id="all mistakes at once"),
        pytest.param({"l.lst": "1\t0\t2\ti/1.jpg\n"}, "", DataError, "label-format=class-id",
                     id="class numbers without the parameter"),
        pytest.param({"l.lst": "1\t0\ti/1.jpg\n2\t7\ti/2.jpg", "labels.txt": "ant\nbee"}, "",
                     DataError, "classes 7 have no name; 2 names are given, for 0 to 1",
                     id="unnamed"),
        pytest.param({"l.lst": "1\t0\ti/1.jpg", "labels.txt": "ant\nant"}, "", DataError,
                     "two classes have one name", id="two of a name"),
        pytest.param({"m.manifest": augmented([[0], [1], [2], [0]], **{"kind-metadata": {
                         "class-map": {"0": "cat", "1": "cat ", "2": "dog"}}})},
                     "", DataError, "classes 0 and 1 are both named 'cat'", id="one name for two"),
        pytest.param({"a.csv": "id,label,path\n1,ant,i/1.jpg\n3,bee\n"}, "", DataError,
                     "line 3: 2 cells where at least 3 should be", id="too few cells"),
        pytest.param({"a.csv": f"path,label\ni/1.jpg,{'7' * 5000}\n"}, "", DataError,
                     "line 2: the label has 5000 characters", id="endless number"),
        pytest.param({"m.jsonl": '{"source-ref": "s3://b/i/1.jpg", "a": 1, "b": 2}'}, "", DataError,
                     "line 1: 2 attributes may be the label: a, b", id="two attributes"),
        pytest.param({"m.jsonl": '{"source-ref": "s3://b/i/1.jpg"'}, "", DataError,
                     "line 1: no JSON", id="no json"),
        pytest.param({"m.jsonl": '{"source-ref": "s3://b/i/1.jpg", "a": {"b": 1}}'}, "", DataError,
                     "is no label: a number, a name, or an array", id="object as label"),
        pytest.param({"a.csv": "x,y,z\n1,2,3\n"}, "text/csv", DataError,
                     "a.csv is no list of photos: 'x,y,z'", id="another table"),
        pytest.param({"a.csv": BAD_PATH, "b.csv": BAD_PATH}, "",
                     ChannelError, "2 lists of photos: a.csv, b.csv", id="two lists"),
        pytest.param({"a.csv": "path,label\ni/1.jpg,ant\n", "l.lst": "1\t0\ti/1.jpg"}, "",
                     ChannelError, "may be read in 2 ways (lst: l.lst; csv: a.csv)",
                     id="two kinds"),
        pytest.param({"a.csv": "path,label\ni/1.jpg,ant\n", "j/1.jpg": "x"}, "", ChannelError,
                     "ContentType (text/csv for csv, application/x-image for folders)",
                     id="list and class folders"),
        pytest.param({"a.csv": "path,label\ni/1.jpg,ant\n"}, "application/x-recordio",
                     ChannelError, "ContentType is application/x-recordio, and it holds csv",
                     id="another content type"),
        pytest.param({}, "image/jpeg; label-format=words", ChannelError,
                     "label-format is multi-hot or class-id", id="unknown label format"),
        pytest.param({"train.csv": "path,label\ni/1.jpg,a", "val.csv": "path,label\ni/1.jpg,a",
                      "extra.csv": "path,label\ni/1.jpg,a"}, "", ChannelError,
                     "extra.csv lies beside files of the splits", id="file of no split"),
        pytest.param({"a.csv": "path,label\n" + "x" * (1 << 20) + ",ant"}, "", DataError,
                     "a.csv line 2 is longer than 1,048,576 bytes", id="endless line"),
    ],
)  # fmt: skip
def test_an_unusable_list_is_refused(tmp_path, files, content_type, error, message):
    put(tmp_path, {"secret/secret.jpg": "secret", "secret.jpg": "secret"})
    channel = put(tmp_path / "train", FOUR | files)
    (channel / "i" / "linked.jpg").symlink_to(tmp_path / "secret.jpg")
    if "away" in str(files):
        (channel / "away").symlink_to(tmp_path / "secret")

    with pytest.raises(error) as caught:
        read(channel, content_type)

    assert message in str(caught.value)


GOOD = packed.image_record(JPEG, [0], 0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("a.rec", GOOD + b"abcdefgh", f"a.rec at byte {len(GOOD)}: b'abcd' where",
                     id="no magic number"),
        pytest.param("a.rec", GOOD + GOOD[:20],
                     f"a.rec at byte {len(GOOD)}: 34 bytes should follow", id="cut record"),
        pytest.param("a.rec", GOOD + GOOD[:5], "the file ends after 5 of a frame's 8 bytes",
                     id="cut frame"),
        pytest.param("a.rec", packed.image_record(JPEG, [float("nan")], 0), "the label nan is no",
                     id="no number"),
        pytest.param("a.rec", packed.record(b"short"), "5 bytes are too few", id="no image record"),
        pytest.param("a.rec", packed.record(struct.pack("<IfQQ", 70000, 0, 0, 0)),
                     "70000 labels", id="too many labels"),
        pytest.param("a.rec", struct.pack("<II", 0xCED7230A, 1 << 29 | 4) + b"abcd",
                     "ends inside the record at byte 0", id="first part only"),
        pytest.param("a.rec", struct.pack("<II", 0xCED7230A, 3 << 29 | 4) + b"abcd",
                     "part 3 of a record is out of order", id="last part only"),
        pytest.param("a.tar", b"no archive" * 100, "a.tar is a damaged archive", id="no archive"),
        pytest.param("a.tar", b"\x1f\x8b rest", "a.tar is compressed (gzip)", id="gzip"),
        pytest.param("a.tar.gz", b"\x1f\x8b rest", "unpack it to a plain .tar", id="gzip by name"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_with_its_place(tmp_path, name, content, message):
    put(tmp_path, {name: content})

    with pytest.raises(DataError) as caught:
        read(tmp_path)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param([("a/1.jpg", JPEG), ("a/1.cls", b"0"), ("a/2.jpg", JPEG)],
                     "a.tar/a/2: no label beside it", id="one label missing"),
        pytest.param([("1.jpg", JPEG)], "no label beside it, and no folder", id="nothing told"),
        pytest.param([("1.a.jpg", JPEG), ("1.b.jpg", JPEG), ("1.cls", b"0")],
                     "a.tar/1: 2 photos under one key", id="two photos"),
        pytest.param([("1.jpg", JPEG), ("1.json", b"{")], "no JSON", id="no json"),
        pytest.param([("1.jpg", JPEG), ("1.json", b'{"x": 1}')], "none of label", id="no field"),
        pytest.param([("1.txt", b"ant")], "a.tar: no photos", id="no photos"),
    ],
)  # fmt: skip
def test_an_archive_without_labels_is_refused(tmp_path, members, message):
    packed.tar(tmp_path / "a.tar", members)

    with pytest.raises(DataError) as caught:
        read(tmp_path)

    assert message in str(caught.value)


def test_an_archive_that_is_damaged_in_the_middle_is_no_shorter_archive(tmp_path):
    path = tmp_path / "a.tar"
    packed.tar(path, [(f"{c}/{at}.jpg", JPEG) for c in "ab" for at in range(4)])
    content = bytearray(path.read_bytes())
    content[4 * 1024 + 10 : 4 * 1024 + 200] = b"?" * 190
    path.write_bytes(content)

    with pytest.raises(DataError, match="no header at byte 4096"):
        read(tmp_path)


def test_a_compressed_archive_is_refused_before_anything_is_unpacked(tmp_path):
    packed.tar(tmp_path / "a.tgz", [("a/1.jpg", JPEG)], mode="w:gz")

    with pytest.raises(DataError, match="photos are compressed already"):
        read(tmp_path)


def test_a_file_that_shrank_is_an_error_of_the_photo(tmp_path):
    put(
        tmp_path,
        {"a.rec": b"".join(packed.image_record(JPEG * 9, [at % 2], at) for at in range(4))},
    )
    index = read(tmp_path, validation=Channel(tmp_path)).train
    (tmp_path / "a.rec").write_bytes(GOOD)

    with pytest.raises(OSError, match="the file ends at byte"):
        index.read(3)


def header(name, size, kind=b"0"):
    """A member's 512 bytes, with any size: written in base 256 where it is negative."""
    member = tarfile.TarInfo(name)
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size.to_bytes(12, "big", signed=True) if size < 0 else b"%011o\0" % size
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(header("a/1.jpg", 0) + header("a/2.jpg", -512) + bytes(1024), id="back"),
        pytest.param(header("a/1.jpg", -1024) + bytes(1024), id="before the begin"),
        pytest.param(header("name", 1 << 40, b"L") + bytes(1024), id="endless name"),
    ],
)
@pytest.mark.timeout(10)
def test_an_archive_that_would_never_end_is_damaged(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)

    with pytest.raises(DataError, match=r"a.tar is a damaged archive: a (member|name) "):
        read(tmp_path)


def test_links_and_other_files_of_an_archive_are_named_and_its_folders_may_have_any_name(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("BZ/1.jpg", "b/1.jpg", "b/2.gif"):
            member = tarfile.TarInfo(name)
            member.size = len(JPEG)
            archive.addfile(member, io.BytesIO(JPEG))
        link = tarfile.TarInfo("b/3.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "b/1.jpg"
        archive.addfile(link)

    splits = read(tmp_path, validation=Channel(tmp_path))

    assert splits.labels == ["BZ", "b"]
    assert "train: 2 links and files that are no photos left out: a.tar/b/2.gif, a.tar/b/3.jpg" in (
        splits.notes
    )
