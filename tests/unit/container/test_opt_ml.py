"""What the platform's files say of channels, and of where scalars for TensorBoard belong."""

import json

import pytest

from container.failure import ChannelError
from container.opt_ml import Channel, Job


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


def inputs(root, settings):
    (root / "input" / "config").mkdir(parents=True)
    (root / "input" / "data" / "train").mkdir(parents=True)
    (root / "input" / "config" / "inputdataconfig.json").write_text(json.dumps(settings))
    return Job.read(root, {})


def test_a_channels_settings_are_read_as_they_came(tmp_path):
    job = inputs(tmp_path, {
        "train": {"TrainingInputMode": "FastFile", "S3DistributionType": "ShardedByS3Key",
                  "ContentType": "application/x-image", "RecordWrapperType": "None"},
        "piped": {"TrainingInputMode": "Pipe", "RecordWrapperType": "RecordIO"},
    })  # fmt: skip

    data = tmp_path / "input" / "data"
    assert job.inputs["train"] == Channel(
        data / "train", "FastFile", "application/x-image", "None", "ShardedByS3Key"
    )
    assert job.inputs["train"].sharded
    assert job.inputs["piped"] == Channel(data / "piped", "Pipe", record_wrapper="RecordIO")
    assert job.inputs["piped"].piped
    assert job.channels == {"train": data / "train"}


def test_settings_may_be_missing_or_of_another_kind(tmp_path):
    job = inputs(tmp_path, {"train": {"TrainingInputMode": None, "ContentType": 3}})

    assert job.inputs == {"train": Channel(tmp_path / "input" / "data" / "train")}


def test_every_channel_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ChannelError) as caught:
        inputs(tmp_path, {"train": {"TrainingInputMode": "Tape"}, "test": {}})

    assert caught.value.details[0].startswith("train: TrainingInputMode 'Tape' is not known")
    assert caught.value.details[1] == f"test: no folder {tmp_path / 'input' / 'data' / 'test'}"
