"""Where the platform's files say that scalars for TensorBoard belong."""

import json

import pytest

from container.failure import ChannelError
from container.opt_ml import Job


def read(root, text, environment=None):
    folder = root / "input" / "config"
    folder.mkdir(parents=True)
    if text is not None:
        (folder / "tensorboardoutputconfig.json").write_text(text)
    return Job.read(root, environment or {}).tensorboard


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(None, "output/tensorboard", id="no file"),
        pytest.param('{"S3OutputPath": "s3://b/p"}', "output/tensorboard", id="no LocalPath"),
        pytest.param('{"LocalPath": null}', "output/tensorboard", id="null"),
        pytest.param('{"LocalPath": "/scalars"}', "/scalars", id="a folder of its own"),
    ],
)
def test_the_folder_of_scalars(tmp_path, text, expected):
    assert read(tmp_path, text) == tmp_path / expected


def test_another_configuration_file_may_be_named(tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"LocalPath": "/elsewhere"}))

    named = read(tmp_path, None, {"TENSORBOARD_CONFIG_FILE_PATH": str(other)})

    assert str(named) == "/elsewhere"


@pytest.mark.parametrize("text", ['{"LocalPath": "scalars"}', '{"LocalPath": 3}', "[1]", "{"])
def test_a_configuration_that_names_no_folder_is_refused(tmp_path, text):
    with pytest.raises(ChannelError, match="tensorboardoutputconfig.json"):
        read(tmp_path, text)
