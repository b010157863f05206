"""The temperature of an artifact: applied, absent in older ones, refused where it cannot be."""

import json

import numpy as np
import pytest

from artifact import archive
from artifact.inference import Classifier
from tests import make


@pytest.fixture
def model(tmp_path):
    return make.artifact(tmp_path / "model")


def rewrite(model, **changes):
    path = model / archive.DESCRIPTION
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in values.items() if value != "gone"}))


def test_probabilities_are_flatter_at_a_higher_temperature_and_the_order_stays(model):
    before = Classifier(model).reference()

    rewrite(model, temperature=3.0)
    after = Classifier(model).reference()

    flat = before ** (1 / 3)
    assert after == pytest.approx(flat / flat.sum(), abs=1e-6)
    assert np.argsort(after).tolist() == np.argsort(before).tolist()


def test_an_artifact_from_before_temperatures_loads(model):
    before = Classifier(model).reference()

    rewrite(model, temperature="gone")

    assert "temperature" not in (model / archive.DESCRIPTION).read_text()
    assert Classifier(model).reference().tolist() == before.tolist()


@pytest.mark.parametrize("value", [0, -1.5, float("nan"), float("inf"), "2", True, None, [1]])
def test_a_temperature_that_cannot_be_is_refused(model, value):
    rewrite(model, temperature=value)

    with pytest.raises(archive.ArtifactError, match="temperature=.*above 0"):
        archive.read_description(model)
