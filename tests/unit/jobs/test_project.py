"""The project's file: what is read, and every mistake at once."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from jobs import project
from jobs.table import ConfigError

EXAMPLE = Path(project.__file__).with_name("example.toml")
GOOD = """
name = "dogs"
image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/photos:1"
role = "arn:aws:iam::123456789012:role/sagemaker"
bucket = "s3://my-bucket/dogs"

[data]
train = "photos"
validation = "s3://other-bucket/validation"

[train]
count = 2
max_hours = 1
hyperparameters = {network = "resnet50", epochs = 3, hidden_units = [16], pretrained = true}
"""


@pytest.fixture
def written(tmp_path):
    (tmp_path / "photos").mkdir()

    def write(text):
        path = tmp_path / "dogs.toml"
        path.write_text(text)
        return path

    return write


def test_a_file_is_read_with_defaults_for_the_rest(written):
    made = project.load(written(GOOD))

    assert made.train.count == 2
    assert made.train.max_hours == 1.0
    assert made.train.hyperparameters["hidden_units"] == [16]
    assert made.deploy.kind == "realtime"


def test_the_example_has_every_field_with_its_default(tmp_path, monkeypatch):
    for split in ("train", "val"):
        (tmp_path / "photos" / split).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    given = tomllib.loads(EXAMPLE.read_text())

    made = project.load(EXAMPLE)

    assert set(given) == {field.name for field in dataclasses.fields(project.Project)}
    for name in ("train", "tune", "deploy", "transform"):
        part = getattr(made, name)
        assert set(given[name]) == {field.name for field in dataclasses.fields(part)}
        if name == "train":
            part = dataclasses.replace(part, hyperparameters={})
        assert part == type(part)()


def test_all_mistakes_are_told_with_what_would_fit(written):
    text = GOOD.replace("count = 2", 'cuont = 2\nspot = "yes"\nkeep_alive_minutes = 5.5')

    with pytest.raises(ConfigError) as caught:
        project.load(written(text))

    said = "\n".join(caught.value.mistakes)
    assert "train.cuont: unknown; did you mean count?" in said
    assert "train.spot: 'yes'; expected true or false" in said
    assert "train.keep_alive_minutes: 5.5; expected a whole number" in said
    assert len(caught.value.mistakes) == 3


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('role = "arn:aws:iam::123456789012:role/sagemaker"', 'role = "sagemaker"',
         "role='sagemaker': expected arn:aws:iam::ACCOUNT:role/NAME"),
        ("s3://my-bucket/dogs", "my-bucket", "bucket='my-bucket': expected s3://BUCKET/PREFIX"),
        ('name = "dogs"', 'name = "dogs and cats"', "name='dogs and cats'"),
        ('train = "photos"', 'train = "fotos"', "data.train='fotos': no folder"),
        ('train = "photos"', "", "data.train: missing"),
        ('name = "dogs"', "", "name: missing; expected a text"),
        ("count = 2", "spot = true\nkeep_alive_minutes = 5", "0 with spot"),
        ("count = 2", 'instance = "g5.xlarge"', "train.instance='g5.xlarge'"),
        ("count = 2", 'input_mode = "Slow"', "expected one of File, FastFile, Pipe"),
        ("[train]", "[deploy]\nto_zero = true\n[train]", "only an asynchronous endpoint"),
        ("[train]", "[train", "is no TOML"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(written, before, after, said):
    with pytest.raises(ConfigError) as caught:
        project.load(written(GOOD.replace(before, after)))

    assert said in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        project.load(tmp_path / "none.toml")
