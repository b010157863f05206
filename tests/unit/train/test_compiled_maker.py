"""Whatever happens to the process that makes an engine, the artifact is whole without one."""

import json

import numpy as np
import pytest

from artifact import archive
from tests import make
from train.compiled import maker
from train.compiled.order import Order, Photos


@pytest.fixture
def model(tmp_path):
    return make.artifact(tmp_path / "model")


def ask(model, should_stop=lambda: False):
    """What was made of it, and what was said."""
    said = []
    order = Order(str(model), 0.5, 1, 10.0)
    return maker.make(order, Photos.none(make.IMAGE_SIZE), said.append, should_stop), said


def test_a_job_that_is_to_stop_does_not_wait_for_it(model):
    made, said = ask(model, should_stop=lambda: True)

    assert made == {}
    assert said == ["warning: no compiled engine, torch will serve: the job is to stop"]
    archive.check_files(model, archive.read_description(model))
    assert not list(model.glob(".*"))


def test_a_process_that_fails_is_told_with_its_last_words(model):
    path = model / archive.DESCRIPTION
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "network": "resnet18"}))

    made, said = ask(model)

    assert made == {}
    assert "no compiled engine, torch will serve: its process ended with 1" in said[-1]
    assert "does not fit resnet18" in said[-1]


def test_photos_arrive_as_they_were_sent(tmp_path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    sent = Photos(pixels[:2], pixels[2:], np.array([0, 1, 2]), np.array([1, 0, -1], np.int8), 7)

    sent.write(tmp_path)
    found = Photos.read(tmp_path)

    for name in ("calibration", "judged", "targets", "right"):
        assert getattr(found, name).tolist() == getattr(sent, name).tolist()
    assert found.held_out == 7
