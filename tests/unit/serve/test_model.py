"""What the HTTP side reads of the model, and when it believes an engine."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from container.failure import ModelError
from serve.model import Model
from tests import make


def test_an_artifact_one_folder_deeper_is_found(tiny_artifact: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_artifact / "model", tmp_path / "model" / "export")
    model = Model.read(tmp_path / "model")

    assert model.folder == tmp_path / "model" / "export"
    assert model.labels == make.LABELS
    assert model.reference.shape == (make.IMAGE_SIZE, make.IMAGE_SIZE, 3)


@pytest.mark.parametrize(
    ("change", "believed"),
    [
        pytest.param(0.0, True, id="the same"),
        pytest.param(0.009, True, id="within"),
        pytest.param(0.011, False, id="beyond"),
        pytest.param(float("nan"), False, id="no number"),
    ],
)
def test_an_engine_is_believed_within_its_tolerance(
    tiny_artifact: Path, change: float, believed: bool
) -> None:
    model = Model.read(tiny_artifact / "model")
    answer = np.asarray(model.expected, np.float32)
    answer[0] += change

    if believed:
        model.check("torch-float32", answer)
        return
    with pytest.raises(ModelError, match="answered wrongly by torch-float32"):
        model.check("torch-float32", answer)


def described(tiny_artifact: Path, folder: Path, **changed: object) -> Path:
    """A copy of the artifact whose description has other values; None takes one out."""
    shutil.copytree(tiny_artifact / "model", folder)
    values = json.loads((folder / "model.json").read_text())
    values = {name: value for name, value in {**values, **changed}.items() if value is not None}
    (folder / "model.json").write_text(json.dumps(values))
    return folder


def test_an_artifact_of_before_there_were_several_labels_is_read(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    old = {"multi_label": None, "thresholds": None, "test_time_flip": None}

    model = Model.read(described(tiny_artifact, tmp_path / "model", **old))

    assert model.thresholds == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"multi_label": 1}, "multi_label must be true or false", id="a number"),
        pytest.param({"multi_label": True}, "a number for every label", id="no thresholds"),
        pytest.param(
            {"multi_label": True, "thresholds": [0.5, "x", 0.5]}, "a number for every", id="a word"
        ),
    ],
)
def test_a_description_that_does_not_fit_itself_is_refused(
    tiny_artifact: Path, tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        Model.read(described(tiny_artifact, tmp_path / "model", **changed))
