"""A data set with one of every fault: each is found by name before the first epoch, in the log, in
`doctor.json` and on the page; a sound data set is left in peace."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from tests.tree import COLOURS, Tree, photo

RED = COLOURS["red"]


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "ml")


def encoded(image, name, **options):
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def opened(data):
    return Image.open(io.BytesIO(data))


def scene(seed, size=(320, 240)):
    """A picture with shapes in it, as a photo has."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (12, 16, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(scene(3), "JPEG", exif=exif)


ODD = {
    "lying.png": (photo(RED, 901), "the extension names another format"),
    "cmyk.jpg": (encoded(scene(4).convert("CMYK"), "JPEG"), "CMYK"),
    "palette.png": (encoded(scene(5).quantize(32), "PNG"), "a palette"),
    "deep.png": (
        encoded(Image.fromarray(np.random.default_rng(6).integers(0, 65535, (48, 48), np.uint16)),
                "PNG"), "16 bits a pixel"),
    "turned.jpg": (turned(), "turned upright"),
    "moving.webp": (
        encoded(scene(7), "WEBP", save_all=True, append_images=[scene(8)]), "several frames"),
}  # fmt: skip


def plant(tree):
    """Channels whose every fault is known."""
    train = tree.channel("train", 30)
    validation = tree.channel("validation", 10)
    red = train / "red"
    (red / "stray.gif").write_bytes(b"GIF89a\x01\x00\x01\x00\x00\x00\x00;")
    (red / "cut.jpg").write_bytes(photo(RED, 1)[:-300])
    (red / "empty.jpg").write_bytes(b"")
    (red / "leaked.jpg").write_bytes((validation / "red" / "red-003.jpg").read_bytes())
    (red / "twice.jpg").write_bytes((red / "red-007.jpg").read_bytes())
    (red / "blue.jpg").write_bytes((train / "blue" / "blue-002.jpg").read_bytes())
    big = encoded(scene(1), "JPEG", quality=95)
    (validation / "red" / "big.jpg").write_bytes(big)
    (red / "small.jpg").write_bytes(encoded(opened(big).resize((160, 120)), "JPEG", quality=60))
    (red / "tiny.png").write_bytes(encoded(scene(9, (12, 12)), "PNG"))
    (red / "huge.png").write_bytes(encoded(Image.new("RGB", (6000, 4500), RED), "PNG"))
    for name, (data, _) in ODD.items():
        (red / name).write_bytes(data)
    for label, count in (("Blue ", 12), ("rare", 2)):
        (train / label).mkdir()
        for at in range(count):
            (train / label / f"{at}.jpg").write_bytes(photo((90, 90, 90), 7000 + 100 * count + at))
    return train


def reported(tree, kind):
    found = json.loads(tree.output("doctor.json").read_text())["findings"]
    return [(finding["names"], finding["reason"]) for finding in found if finding["kind"] == kind]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    tree = Tree(tmp_path_factory.mktemp("planted"))
    plant(tree)
    return tree, tree.train(epochs="1", data_policy="quarantine")


def test_every_planted_fault_is_found_by_name_and_nothing_else(planted):
    tree, done = planted

    assert done.returncode == 0, done.stderr
    assert dict((names[0], reason) for names, reason in reported(tree, "unreadable")).keys() == {
        "train/red/stray.gif", "train/red/cut.jpg", "train/red/empty.jpg",
    }  # fmt: skip
    assert [names for names, _ in reported(tree, "leak")] == [
        ["validation/red/red-003.jpg", "train/red/leaked.jpg"]
    ]
    assert [names for names, _ in reported(tree, "duplicate")] == [
        ["train/blue/blue-002.jpg", "train/red/blue.jpg"],
        ["train/red/red-007.jpg", "train/red/twice.jpg"],
    ]
    assert reported(tree, "conflict") == [
        (["train/blue/blue-002.jpg", "train/red/blue.jpg"], "the same bytes in classes blue, red")
    ]
    assert [names for names, _ in reported(tree, "near leak")] == [
        ["validation/red/big.jpg", "train/red/small.jpg"]
    ]
    assert [names for names, _ in reported(tree, "tiny")] == [["train/red/tiny.png"]]
    assert [names for names, _ in reported(tree, "huge")] == [["train/red/huge.png"]]
    assert [names for names, _ in reported(tree, "skew")] == [["rare"]]
    assert [names for names, _ in reported(tree, "few")] == [["rare"]]
    assert [names for names, _ in reported(tree, "missing")] == [["Blue", "rare"]]
    assert [names for names, _ in reported(tree, "label")] == [["Blue", "blue"]]


@pytest.mark.parametrize("name", ODD)
def test_a_photo_in_an_odd_form_is_named_with_its_oddity(planted, name):
    tree, _ = planted

    odd = {names[0]: reason for names, reason in reported(tree, "odd")}

    assert len(odd) == len(ODD)
    assert odd[f"train/red/{name}"].startswith(ODD[name][1])


def test_the_log_names_what_harms_and_counts_the_rest(planted):
    _, done = planted

    for line in (
        r"bad file train/red/cut\.jpg: damaged photo",
        r"warning: leak: 1 x .*validation/red/red-003\.jpg = train/red/leaked\.jpg",
        r"warning: leak: 1 train photos are left out",
        r"warning: conflict: 1 x .*train/red/blue\.jpg",
        r"warning: near leak: 1 x .*validation/red/big\.jpg = train/red/small\.jpg",
        r"note: photos that doctor\.json names: 1 tiny, 1 huge, 6 odd",
    ):
        assert re.search(line, done.stdout), line
    assert "  red: 41 train, 11 validation" in done.stdout  # of 45: three broken, one leaked


def test_what_was_left_out_is_in_quarantine_with_the_reason(planted):
    tree, done = planted

    lines = tree.output("quarantine/files.jsonl").read_text().splitlines()
    listed = {(file := json.loads(line))["file"]: file for line in lines}

    assert {name.rpartition("/")[2]: file["kind"] for name, file in listed.items()} == {
        "stray.gif": "unreadable", "cut.jpg": "unreadable", "empty.jpg": "unreadable",
        "leaked.jpg": "leak",
    }  # fmt: skip
    copy = tree.output("quarantine") / listed["train/red/cut.jpg"]["copy"]
    assert copy.read_bytes() == photo(RED, 1)[:-300]
    assert "quarantine: 4 files listed, 4 of them copied" in done.stdout


def test_the_page_shows_pictures_and_runs_no_script(planted):
    tree, _ = planted

    page = tree.output("doctor.html").read_text()

    assert page.count("<img ") == page.count("data:image/jpeg;base64,") > 8
    assert "leak: validation/red/red-003.jpg: the same bytes" in page
    assert "<script" not in page
    assert len(page) < 1_000_000


def test_a_sound_data_set_is_left_in_peace(tree):
    for split, count in (("train", 40), ("validation", 20), ("test", 20)):
        tree.channel(split, count)

    done = tree.train(epochs="1", data_policy="error")

    assert done.returncode == 0, done.stderr
    assert json.loads(tree.output("doctor.json").read_text())["counts"] == {}
    assert "warning" not in done.stdout
    assert "Nothing was found" in tree.output("doctor.html").read_text()


def test_the_policy_error_ends_the_job_with_the_faults_in_the_reason(tree):
    train, validation = tree.channel("train", 12), tree.channel("validation", 6)
    (train / "red" / "leaked.jpg").write_bytes((validation / "red" / "red-003.jpg").read_bytes())
    (train / "red" / "cut.jpg").write_bytes(photo(RED, 1)[:-300])

    done = tree.train(epochs="1", data_policy="error")

    assert done.returncode == 1
    assert tree.failure.startswith(
        "data: data_policy=error, and the photos have faults: 1 x unreadable, 1 x leak"
    )
    assert "leak: validation/red/red-003.jpg = train/red/leaked.jpg" in tree.failure
    assert tree.output("doctor.html").exists()
    assert "epoch=" not in done.stdout


def test_splits_that_are_the_same_folder_train_and_the_warning_says_so(tree):
    first = tree.channel("train", 6)
    validation = tree.root / "input" / "data" / "validation"
    validation.symlink_to(first)

    done = tree.train(epochs="1")

    assert done.returncode == 0, done.stderr
    assert "photos: 18 train, 18 validation" in done.stdout
    assert "the splits share more than half of a class, so none is" in done.stdout
