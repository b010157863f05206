"""Folders -> splits and classes, with everything that real archives hold besides photos."""

import os
from pathlib import Path

import numpy as np
import pytest

from container.failure import ChannelError, DataError
from train import channels
from train.index import Index, stratified


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"photo")
    return folder


def names(index):
    return [index.name(at) for at in range(len(index))]


def test_classes_are_matched_by_name_across_channels(tmp_path):
    train = fill(tmp_path / "train", "ant/1.jpg", "bee/1.jpg", "cat/1.jpg")
    validation = fill(tmp_path / "val", "cat/9.jpg", "bee/9.jpg")

    splits = channels.read({"train": train, "val": validation}, seed=0)

    assert splits.labels == ["ant", "bee", "cat"]
    assert names(splits.validation) == ["bee/9.jpg", "cat/9.jpg"]
    assert splits.validation.targets.tolist() == [1, 2]
    assert any("validation has no photos of 1 classes: ant" in note for note in splits.notes)


@pytest.mark.parametrize("inner", ["", "dogImages/"])
@pytest.mark.parametrize("validation", ["valid", "val", "validation"])
def test_one_channel_may_hold_all_splits(tmp_path, inner, validation):
    files = [f"{inner}{split}/{label}/1.jpg" for split in ("train", validation, "test")
             for label in ("ant", "bee")]  # fmt: skip
    folder = fill(tmp_path / "data", *files)

    splits = channels.read({"training": folder}, seed=0)

    assert len(splits.train) == len(splits.validation) == len(splits.test) == 2


def test_a_channel_with_classes_only_is_split_stratified_by_seed(tmp_path):
    folder = fill(tmp_path / "train", *(f"{c}/{n}.jpg" for c in ("ant", "bee") for n in range(10)))

    splits = channels.read({"train": folder}, seed=3)
    again = channels.read({"train": folder}, seed=3)

    assert splits.train.counts(2).tolist() == [8, 8]
    assert splits.validation.counts(2).tolist() == [2, 2]
    assert not set(names(splits.train)) & set(names(splits.validation))
    assert names(splits.validation) == names(again.validation)


def test_hidden_files_markers_and_texts_are_no_photos_and_no_classes(tmp_path):
    folder = fill(
        tmp_path / "train",
        "ant/1.jpg", "ant/.DS_Store", "ant/notes.txt", "ant/deep/2.PNG", "ant/no-extension",
        "bee/1.jpeg", "bee/._1.jpg", ".ipynb_checkpoints/1.jpg", "__MACOSX/1.jpg", "labels.csv",
        "bee/stray.gif",
    )  # fmt: skip
    (folder / "empty").mkdir()

    splits = channels.read({"train": folder, "validation": folder}, seed=0)

    assert splits.labels == ["ant", "bee"]
    assert names(splits.train) == [
        "ant/1.jpg", "ant/deep/2.PNG", "ant/no-extension", "bee/1.jpeg", "bee/stray.gif",
    ]  # fmt: skip
    assert any("empty: no photos" in note for note in splits.notes)
    assert any("notes.txt" in note for note in splits.notes)


def test_a_single_channel_of_another_name_is_taken_for_train(tmp_path):
    folder = fill(tmp_path / "dogs", "a/1.jpg", "b/1.jpg", "a/2.jpg", "b/2.jpg")

    splits = channels.read({"dogs": folder, "pretrained": tmp_path}, seed=0)

    assert any("'dogs' is the only one" in note for note in splits.notes)


@pytest.mark.parametrize(
    ("files", "given", "error", "message"),
    [
        pytest.param([], {}, ChannelError, "no train channel; channels given: none", id="none"),
        pytest.param(["train/1.jpg", "train/2.jpg"], {"train": "train"}, ChannelError,
                     "2 photos lie in it without a class", id="flat"),
        pytest.param(["train/a/1.txt"], {"train": "train"}, ChannelError, "no photos", id="texts"),
        pytest.param(["train/a/1.jpg"], {"train": "train"}, DataError, ": 1 (a)", id="one class"),
        pytest.param(["train/a/1.jpg", "train/b/1.jpg", "val/c/1.jpg"],
                     {"train": "train", "val": "val"}, DataError,
                     "validation has 1 classes that train has no photos of: c", id="extra class"),
        pytest.param(["a/x/1.jpg", "b/y/1.jpg"], {"train": "a", "training": "b"}, ChannelError,
                     "both mean the train split", id="two names"),
    ],
)  # fmt: skip
def test_an_unusable_layout_is_refused(tmp_path, files, given, error, message):
    fill(tmp_path, *files)

    with pytest.raises(error, match=r"\w") as caught:
        channels.read({name: tmp_path / folder for name, folder in given.items()}, seed=0)

    assert message in str(caught.value)


def test_a_stratified_part_keeps_every_class():
    targets = np.repeat(np.arange(5), [1, 2, 10, 50, 100]).astype(np.int32)

    kept, rest = stratified(targets, 0.1, seed=0)

    assert np.bincount(targets[kept]).tolist() == [1, 1, 1, 5, 10]
    assert sorted([*kept, *rest]) == list(range(len(targets)))


def test_a_million_samples_take_tens_of_megabytes():
    samples = ((f"class-{at % 100:03d}/photo-{at:07d}.jpg", at % 100) for at in range(1_000_000))
    index = Index.of("train", Path("/"), samples)

    held = index.names.nbytes + index.ends.nbytes + index.targets.nbytes
    assert held < 50 << 20
    assert index.name(999_999) == "class-099/photo-0999999.jpg"


def test_a_folder_beside_the_splits_is_no_class_and_neither_are_they(tmp_path):
    files = [f"{split}/{label}/1.jpg" for split in ("train", "val") for label in ("ant", "bee")]
    folder = fill(tmp_path / "train", *files, "extra/1.jpg")

    splits = channels.read({"train": folder}, seed=0)

    assert splits.labels == ["ant", "bee"]
    assert "folders beside the splits ignored: extra" in splits.notes


def test_one_class_spelt_in_two_ways_of_unicode_is_one_class(tmp_path):
    train = fill(tmp_path / "train", "caf\u00e9/1.jpg", "bee/1.jpg")
    validation = fill(tmp_path / "val", "cafe\u0301/2.jpg", "bee/2.jpg")

    splits = channels.read({"train": train, "validation": validation}, seed=0)

    assert splits.labels == ["bee", "caf\u00e9"]
    assert names(splits.validation) == ["bee/2.jpg", "cafe\u0301/2.jpg"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user without permission")
def test_a_class_folder_that_may_not_be_read_is_an_error_and_not_an_empty_class(tmp_path):
    folder = fill(tmp_path / "train", "ant/1.jpg", "bee/1.jpg", "cat/1.jpg")
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(0o755)
    (folder / "bee").chmod(0)
    os.seteuid(12345)
    try:
        with pytest.raises(PermissionError):
            channels.read({"train": folder}, seed=0)
    finally:
        os.seteuid(0)


def test_a_part_of_photos_with_several_labels_keeps_every_class():
    random = np.random.default_rng(1)
    rows = (random.random((400, 6)) < [0.5, 0.3, 0.1, 0.05, 0.02, 0]).astype(np.uint8)
    rows[7, 5] = 1

    kept, rest = stratified(rows, 0.8, seed=0)

    assert sorted([*kept, *rest]) == list(range(400))
    assert rows[kept].any(0).all()
    shares = rows[kept].sum(0)[:3] / rows.sum(0)[:3]
    assert (abs(shares - 0.8) < 0.05).all()


def test_taking_samples_moves_names_and_targets_together():
    count = 70_000  # more than are gathered at a time
    index = Index.of("train", Path("/"), ((f"{'x' * (at % 5)}{at}", at % 7) for at in range(count)))
    positions = np.random.default_rng(0).permutation(count)[:66_000]

    taken = index.take(positions)

    assert names(taken.take(np.arange(65_530, 65_545))) == [
        index.name(int(at)) for at in positions[65_530:65_545]
    ]
    assert (taken.targets == index.targets[positions]).all()
    assert len(taken.take(np.zeros(0, np.int64))) == 0


def test_a_class_may_be_named_with_underscores(tmp_path):
    folder = fill(tmp_path / "train", "__background__/1.jpg", "cat/1.jpg", "__pycache__/1.jpg")

    splits = channels.read({"train": folder, "validation": folder}, seed=0)

    assert splits.labels == ["__background__", "cat"]


def test_a_misspelt_channel_is_refused_and_another_one_named(tmp_path):
    folder = fill(tmp_path / "train", "a/1.jpg", "b/1.jpg", "a/2.jpg", "b/2.jpg")

    with pytest.raises(ChannelError, match="'vaildation'; did you mean validation"):
        channels.read({"train": folder, "vaildation": folder}, seed=0)

    splits = channels.read({"train": folder, "masks": folder}, seed=0)
    assert any("not read: masks" in note for note in splits.notes)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(("notes.csv", 'note,by\nfirst,"a line\nthat ends"\n'), id="a table"),
        pytest.param(("labels.json", '{"cat": {"id": 3}}'), id="labels of another tool"),
    ],
)
def test_a_file_of_another_purpose_beside_class_folders_harms_nothing(tmp_path, other):
    folder = fill(tmp_path / "train", "a/1.jpg", "b/1.jpg")
    (folder / other[0]).write_text(other[1])

    assert channels.read({"train": folder, "validation": folder}, seed=0).labels == ["a", "b"]
