"""The doctor's parts: what is remembered, what counts as a copy, and what a job leaves out."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from container.failure import DataError
from container.opt_ml import Job
from tests.make import encode
from tests.tree import photo
from train.distributed import ALONE
from train.doctor import checkup, copies, memory, policy
from train.doctor import examine as examine_module
from train.doctor.copies import Photos
from train.doctor.examine import Folders, examine
from train.doctor.look import BAD, FACTS, FLAT, LOOKED, look
from train.doctor.memory import Memory
from train.gathered import Gathered
from train.index import Index

GREY = (120, 120, 120)


def index(folder, photos, split="train"):
    """An index over photos written to `folder`, in two classes."""
    for name, data in photos.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return Index.of(split, folder, ((name, at % 2) for at, name in enumerate(photos)))


def some(count, first=0):
    return {f"a/{at}.jpg": photo(GREY, first + at) for at in range(count)}


def seen(indexes, folders=Folders(), seconds=60.0):  # noqa: B008  a value that cannot change
    return examine(indexes, folders, print, seconds=seconds)


class Counted(Index):
    """An index that counts what is read of it."""

    def read(self, position):
        READ.append(position)
        return super().read(position)

    def read_stamped(self, position):
        READ.append(position)
        return super().read_stamped(position)


READ: list[int] = []


@pytest.fixture
def counted():
    READ.clear()
    return READ


def counting(index):
    return Counted(**index.__dict__)


def test_a_restart_sees_what_the_first_start_saw_and_reads_but_a_few(
    tmp_path, counted, monkeypatch
):
    monkeypatch.setattr(examine_module, "SAMPLE", 2)
    train = counting(index(tmp_path / "data", {**some(6), "a/bad.jpg": b"no photo"}))
    first = seen({"train": train}, Folders(run=tmp_path / "run"))
    counted.clear()
    for at in range(len(train)):  # a volume that was loaded anew: other times
        os.utime(tmp_path / "data" / train.name(at), ns=(1, 1))

    again = seen({"train": train}, Folders(run=tmp_path / "run"))

    assert sorted(counted) == [0, 6]
    assert again["train"].facts.tobytes() == first["train"].facts.tobytes()
    assert again["train"].reason(6).startswith("8 bytes that start with")


def test_a_restart_never_looks_further_than_the_first_start(tmp_path, counted):
    """Else a resumed run would leave out other photos than the run that it continues."""
    train = counting(index(tmp_path / "data", some(6)))
    first = seen({"train": train}, Folders(run=tmp_path / "run"), seconds=-1)

    again = seen({"train": train}, Folders(run=tmp_path / "run"))

    assert not first["train"].flagged(LOOKED).any()
    assert not again["train"].flagged(LOOKED).any()
    assert not counted


def test_a_photo_that_was_repaired_is_looked_at_again(tmp_path):
    train = index(tmp_path / "data", {**some(4), "a/bad.jpg": b"no photo"})
    seen({"train": train}, Folders(run=tmp_path / "run"))
    (tmp_path / "data" / "a" / "bad.jpg").write_bytes(photo(GREY, 9))

    again = seen({"train": train}, Folders(run=tmp_path / "run"))

    assert not again["train"].flagged(BAD).any()


@pytest.mark.parametrize("memory", ["run", "shared"])
def test_only_a_file_that_is_remembered_is_asked_for_its_size(tmp_path, monkeypatch, memory):
    asked = []

    def stat(path, *others, real=os.stat, **options):
        asked.append(str(path))
        return real(path, *others, **options)

    folders = Folders(**{memory: tmp_path / "memory"})
    train = index(tmp_path / "data", some(6))
    monkeypatch.setattr(os, "stat", stat)

    def photos_asked():
        asked.clear()
        assert seen({"train": train}, folders)["train"].flagged(LOOKED).all()
        return [path for path in asked if path.endswith(".jpg")]

    assert photos_asked() == []
    assert sorted(photos_asked()) == [str(train.root / train.name(at)) for at in range(6)]


@pytest.mark.parametrize("again", [b"no photo still", photo(GREY, 9)], ids=["bad", "repaired"])
def test_a_file_that_could_not_be_read_is_left_to_the_next_run(tmp_path, again):
    train = index(tmp_path / "data", some(4))
    missing = tmp_path / "data" / "a" / "2.jpg"
    missing.unlink()
    seen({"train": train}, Folders(run=tmp_path / "run"))
    missing.write_bytes(again)

    found = seen({"train": train}, Folders(run=tmp_path / "run"))

    assert found["train"].flagged(BAD).tolist() == [False, False, True, False]
    assert found["train"].reason(2) == "cannot be read: No such file or directory"


class Slow(Index):
    """An index whose files take a while."""

    def read_stamped(self, position):
        time.sleep(0.2)
        return super().read_stamped(position)


@pytest.mark.parametrize("pipe", [False, True], ids=["slow reads", "a read that never ends"])
def test_the_time_for_looks_is_kept(tmp_path, pipe):
    train = index(tmp_path / "data", some(100))
    first = tmp_path / "data" / "a" / "0.jpg"
    if pipe:
        first.unlink()
        os.mkfifo(first)
    else:
        train = Slow(**train.__dict__)
    begun = time.monotonic()

    found = seen({"train": train}, seconds=2.0)

    assert time.monotonic() - begun < 4
    assert 0 < found["train"].flagged(LOOKED).sum() < 100
    if pipe:
        assert not found["train"].flagged(LOOKED)[0]
        os.close(os.open(first, os.O_WRONLY | os.O_NONBLOCK))  # it ends after all


def test_other_photos_of_the_same_names_and_sizes_are_looked_at_again(tmp_path):
    def bitmaps(value):
        return {f"a/{at}.bmp": encode(Image.new("RGB", (24, 24), (value, at, 9)), "BMP")
                for at in range(80)}  # fmt: skip

    train = index(tmp_path / "data", bitmaps(10))
    first = seen({"train": train}, Folders(run=tmp_path / "run"))
    index(tmp_path / "data", bitmaps(200))

    again = seen({"train": train}, Folders(run=tmp_path / "run"))

    assert not (again["train"].facts["content"] == first["train"].facts["content"]).any()
    assert (again["train"].facts["colour"][:, 0] == 200).all()


def test_the_next_trial_looks_only_at_what_is_new_or_changed(tmp_path, counted):
    train = counting(index(tmp_path / "data", some(6)))
    seen({"train": train}, Folders(shared=tmp_path / "warm"))
    counted.clear()
    changed = tmp_path / "data" / "a" / "2.jpg"
    changed.write_bytes(changed.read_bytes()[:-1] + b"\x00")  # the same size, another time
    os.utime(changed, ns=(5, 5))
    wider = counting(index(tmp_path / "data", {**some(2), **some(8)}))
    os.utime(changed, ns=(6, 6))

    found = seen({"train": wider}, Folders(shared=tmp_path / "warm"))

    assert found["train"].flagged(LOOKED).all()
    assert set(counted) <= set(range(8))


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", b"half"])
def test_a_damaged_memory_is_made_anew(tmp_path, damage):
    train = index(tmp_path / "data", some(4))
    seen({"train": train}, Folders(run=tmp_path / "run", shared=tmp_path / "warm"))
    files = [*(tmp_path / "run").iterdir(), *(tmp_path / "warm").iterdir()]
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage == b"half" else damage)

    again = seen({"train": train}, Folders(run=tmp_path / "run", shared=tmp_path / "warm"))

    assert again["train"].flagged(LOOKED).all()
    assert all(Memory.load(path) for path in files)


def test_the_oldest_memories_of_other_lists_make_room(tmp_path, monkeypatch):
    folders = Folders(run=tmp_path / "run")
    for photos in (1, 2, 3):
        seen({"train": index(tmp_path / "data", some(photos))}, folders)
    oldest, *_ = kept = sorted(folders.run.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    monkeypatch.setattr(memory, "KEPT_BYTES", sum(path.stat().st_size for path in kept) - 1)

    seen({"train": index(tmp_path / "data", some(4))}, folders)

    assert not oldest.exists()
    assert len(list(folders.run.iterdir())) == 3


@pytest.mark.parametrize("leads", [True, False])
def test_nothing_half_written_lies_in_an_uploaded_folder_where_a_way_leads_there(
    tmp_path, monkeypatch, leads
):
    run, outside = tmp_path / "checkpoints" / "doctor", tmp_path / "output" / ".doctor"
    if not leads:
        outside.parent.touch()
    train, lay = index(tmp_path / "data", some(4)), []

    def fsync(file, real=os.fsync):
        lay.extend([*run.iterdir()])
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    seen({"train": train}, Folders(run=run, outside=outside))

    assert bool(lay) != leads
    assert [path.suffix for path in run.iterdir()] == [".npz"]
    assert not outside.exists()


def test_a_folder_that_cannot_be_written_costs_the_memory_only(tmp_path, capsys):
    train = index(tmp_path / "data", some(4))
    (tmp_path / "file").write_text("")

    assert seen({"train": train}, Folders(run=tmp_path / "file"))["train"].flagged(LOOKED).all()
    assert "is not remembered" in capsys.readouterr().out


def test_a_file_that_a_list_names_often_is_read_once(tmp_path, counted):
    (tmp_path / "a.jpg").write_bytes(photo(GREY, 1))
    often = counting(Index.of("train", tmp_path, (("a.jpg", 0) for _ in range(5000))))

    found = seen({"train": often})

    assert found["train"].flagged(LOOKED).all()
    assert counted == [0]


def test_flat_pictures_and_noise_are_no_copies_of_each_other(tmp_path):
    flat = {f"{value}.png": encode(Image.new("RGB", (64, 64), (value, 250, 250)), "PNG")
            for value in range(200, 240)}  # fmt: skip
    train = index(tmp_path / "train", {**flat, **some(150)})
    validation = index(tmp_path / "validation", some(150, first=5000), "validation")
    both = seen({"train": train, "validation": validation})

    assert both["train"].flagged(FLAT)[: len(flat)].all()
    assert not copies.near(Photos.of(both))


def rows(count, seed=0):
    """Facts of pictures that have nothing to do with each other."""
    random = np.random.default_rng(seed)
    facts = np.zeros(count, FACTS)
    for field in ("rows", "columns", "content", "name"):
        facts[field] = random.integers(0, 1 << 63, count, np.uint64) * 2 + 1
    facts["flags"] = LOOKED
    return facts


def photos(facts, split):
    return Photos(["train", "validation"], split, np.arange(len(facts)), facts,
                  np.zeros(len(facts), np.int64))  # fmt: skip


@pytest.mark.parametrize("bits", range(1, copies.NEAR_BITS + 1))
def test_every_pair_that_differs_in_few_bits_is_found(bits):
    random = np.random.default_rng(bits)
    facts = rows(4000)
    for at in range(100):  # a changed copy of photo `at`, wherever the bits are that changed
        value = int(facts["rows"][at]) | int(facts["columns"][at]) << 64
        for bit in random.choice(128, bits, replace=False):
            value ^= 1 << int(bit)
        facts["rows"][3000 + at] = value & (1 << 64) - 1
        facts["columns"][3000 + at] = value >> 64
    split = (np.arange(4000) >= 3000).astype(np.int8)

    assert copies.near(photos(facts, split)) == [(at, 3000 + at) for at in range(100)]


def test_many_photos_are_compared_one_by_one_only_where_they_are_alike():
    count = 1_000_000 if os.environ.get("SOAK") == "1" else 60_000
    facts = rows(count)
    facts[count // 4 : count // 2] = facts[0]  # many that look alike, in train
    facts[-5] = facts[7]
    facts["content"] = np.arange(count)
    split = (np.arange(count) >= count * 0.8).astype(np.int8)

    pairs = copies.near(photos(facts, split))

    assert pairs == [(7, count - 5)]


def test_copies_within_several_groups_come_in_the_photos_order():
    facts = rows(10)
    facts["content"] = [5, 1, 2, 5, 3, 1, 5, 9, 8, 7]

    found = [group.tolist() for group in copies.groups(photos(facts, np.zeros(10, np.int8)))]

    assert found == [[0, 3, 6], [1, 5]]


def check(tmp_path, indexes, data_policy="skip", limit=0.01):
    said: list[str] = []
    gone, findings, _ = checkup.check(
        indexes, ["one", "two"], data_policy, limit, Folders(), tmp_path / "out", said.append,
        Gathered(ALONE, Job.read(tmp_path)),
    )  # fmt: skip
    used = {split: policy.used(index, gone[split]) for split, index in indexes.items()}
    return used, findings, said


def names(index):
    return [index.name(at) for at in range(len(index))]


def test_the_train_copy_of_a_shared_photo_is_left_out_and_no_other(tmp_path):
    train = index(tmp_path / "train", some(12))
    held = index(tmp_path / "held", {"x/held.jpg": photo(GREY, 4), **some(3, 900)}, "validation")

    used, findings, said = check(tmp_path, {"train": train, "validation": held})

    assert names(used["train"]) == [name for name in names(train) if name != "a/4.jpg"]
    assert names(used["validation"]) == names(held)
    assert findings.left_out == {"train": 1, "validation": 0}
    assert findings.as_dict()["leaks_left_out"] == {"train": 1, "validation": 0}
    assert any("validation/x/held.jpg = train/a/4.jpg" in line for line in said)


def test_findings_and_log_are_bounded_whatever_the_number_of_faults(tmp_path):
    many = {f"bad/{at:05d}.jpg": b"no photo" for at in range(3000)}
    train = index(tmp_path / "train", {**many, **some(12)})
    held = index(tmp_path / "held", some(4, 900), "validation")

    used, findings, said = check(tmp_path, {"train": train, "validation": held}, limit=1.0)

    assert len(used["train"]) == 12
    assert findings.counts["unreadable"] == 3000
    assert len(findings.found) < 1100
    assert len(said) < 70
    assert any("bad files: 2950 more" in line for line in said)
    assert (tmp_path / "out" / "doctor.json").stat().st_size < 400_000


def test_quarantine_copies_are_bounded_and_stay_in_their_folder(tmp_path):
    many = {f"bad/..{at:05d} é.jpg": b"no photo" for at in range(300)}
    train = index(tmp_path / "train", {**many, **some(12)})
    held = index(tmp_path / "held", some(4, 900), "validation")

    check(tmp_path, {"train": train, "validation": held}, "quarantine", limit=1.0)

    files = sorted(path.name for path in (tmp_path / "out" / "quarantine").iterdir())
    assert len(files) == 201
    assert files[0] == "000001-00000_.jpg"
    assert len((tmp_path / "out/quarantine/files.jsonl").read_text().splitlines()) == 300


def test_untrusted_names_are_text_on_the_page(tmp_path):
    train = index(tmp_path / "train", {**some(12), "a/<script>alert(1)<&\n.jpg": b"bad"})
    held = index(tmp_path / "held", some(4, 900), "validation")

    check(tmp_path, {"train": train, "validation": held})

    page = (tmp_path / "out" / "doctor.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;&amp;\\n.jpg" in page


def test_photos_of_several_labels_are_compared_by_all_of_them(tmp_path):
    train = index(tmp_path / "train", {**some(12), "a/0again.jpg": photo(GREY, 0),
                                       "a/1again.jpg": photo(GREY, 1)})  # fmt: skip
    targets = np.ones((14, 2), np.uint8)
    targets[13] = [1, 0]
    both = Index("train", train.root, train.names, train.ends, targets)

    made = Photos.of(seen({"train": both}))

    assert made.label[0] == made.label[12]
    assert made.label[1] != made.label[13]


def test_too_many_bad_files_end_the_job_and_policy_error_takes_none():
    policy.check_limit("train", 5, 100, 0.01, "skip", [])
    with pytest.raises(DataError, match="6 of 100 files of train"):
        policy.check_limit("train", 6, 100, 0.01, "skip", [])
    with pytest.raises(DataError, match="the limit is 0"):
        policy.check_limit("train", 1, 100, 0.01, "error", [])


def test_a_look_at_the_same_bytes_is_the_same_whatever_the_name():
    data = photo(GREY, 3)

    assert look(data, "a.jpg")[0] == look(data, str(Path("b") / "c.jpg"))[0]
