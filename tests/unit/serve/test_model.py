"""What the HTTP side reads of the model, and when it believes an engine."""

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
