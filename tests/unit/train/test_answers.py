"""What is kept of a network's answers, and how much memory that takes."""

import numpy as np
import torch

from artifact.preprocess import Preprocessing
from tests import make
from train import answers, surprises
from train.answers import UNKNOWN, Answers
from train.batches import MicroBatch, Photos
from train.index import Index
from train.schedule import Spec


def batch(positions, targets):
    spec = Spec(0, 0, np.asarray(positions), len(positions), True)
    return MicroBatch(spec, torch.empty(0), torch.tensor(targets))


def test_every_photo_leaves_its_place_label_and_answer():
    made = Answers(5, 3)

    made(torch.tensor([[0.0, 2, 0], [3, 0, 0]]), batch([4, 1], [1, 2]))
    made(torch.tensor([[0.0, 0, 9]]), batch([0], [2]))

    assert made.positions.tolist() == [4, 1, 0]
    assert made.targets.tolist() == [1, 2, 2]
    assert made.predicted.tolist() == [1, 0, 2]
    assert made.probability[2] > 0.999
    assert made.rows[0].shape == (3, 3)


def test_photos_that_a_source_does_not_place_have_no_name_but_count():
    made = Answers(4, 2)

    made(torch.zeros(2, 2), batch([7, 8, 9], [0, 1]))

    assert made.positions.tolist() == [UNKNOWN, UNKNOWN]
    assert len(made) == 2


def test_whole_rows_are_kept_of_an_even_part_where_all_would_not_fit(monkeypatch):
    monkeypatch.setattr(answers, "LOGITS_BYTES", 4 * 10 * 4)
    made = Answers(95, 4)

    for start in range(0, 95, 7):
        here = np.arange(start, min(95, start + 7))
        logits = torch.from_numpy(here[:, None].repeat(4, 1)).float()
        made(logits, batch(here, (here % 4).tolist()))

    logits, targets = made.rows
    assert logits[:, 0].tolist() == list(range(0, 95, 10))
    assert targets.tolist() == [at % 4 for at in range(0, 95, 10)]
    assert len(made.positions) == 95


def test_photos_with_several_labels_are_not_answers_of_one():
    made = Answers(2, 3)

    made(torch.zeros(2, 3), batch([0, 1], [[1, 0, 1], [0, 0, 1]]))

    assert len(made) == 0


def test_of_several_labels_the_most_certain_mistakes_of_either_kind_are_kept():
    made = Answers(400, 3)
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (400, 3)).astype(np.float32)
    targets = random.integers(0, 2, (400, 3))

    for start in range(0, 400, 7):
        here = slice(start, start + 7)
        positions = np.arange(400)[here]
        made(torch.from_numpy(logits[here]), batch(positions, targets[here].tolist()))

    for has, sign in ((0, 1), (1, -1)):
        rows = made.surprises[made.surprises["has"] == has]
        wrong = np.sort(sign * logits[targets == has])[::-1][: surprises.MOST]
        kept = sign * logits[rows["position"], rows["label"]]
        assert np.array_equal(kept, wrong)
        assert (targets[rows["position"], rows["label"]] == has).all()


def test_a_network_that_is_right_about_every_label_surprises_nobody():
    made = Answers(2, 2)

    made(torch.tensor([[5.0, -5], [-5, 5]]), batch([0, 1], [[1, 0], [0, 1]]))

    assert not len(made.surprises)


def test_a_photo_that_cannot_be_decoded_moves_no_other_ones_place(tmp_path):
    names = ["a.jpg", "b.jpg", "c.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(make.photo())
    (tmp_path / "b.jpg").write_bytes(b"no photo")
    index = Index.of("test", tmp_path, [(name, at) for at, name in enumerate(names)])
    photos = Photos(index, Preprocessing.for_size(32), "none", 0)
    one = photos[Spec(0, 0, np.arange(3), 3, True)]
    made = Answers(3, 3)

    made(torch.eye(3)[one.targets], one)

    assert len(one.bad) == 1
    assert made.positions.tolist() == made.predicted.tolist() == [0, 2]
