"""Scalars as TensorBoard reads them, and that nothing about them ends a job."""

import sys

from tests import events
from train.tensorboard import Scalars

FIRST = {"epoch": 1, "step": 10, "train_loss": 0.5}
SECOND = {"epoch": 2, "step": 20, "train_loss": 0.25}


def test_every_metric_has_a_value_per_epoch(tmp_path):
    scalars = Scalars(tmp_path / "deep" / "er", [], print)

    scalars.add(FIRST)
    scalars.add(SECOND)
    scalars.close()

    assert events.scalars(tmp_path / "deep" / "er") == {"train_loss": [(1, 0.5), (2, 0.25)]}


def test_an_epoch_can_be_read_while_the_job_runs(tmp_path):
    scalars = Scalars(tmp_path, [], print)

    scalars.add(FIRST)

    assert events.scalars(tmp_path) == {"train_loss": [(1, 0.5)]}
    scalars.close()


def test_a_resumed_job_writes_the_earlier_epochs_again_and_voids_older_files(tmp_path):
    scalars = Scalars(tmp_path, [FIRST], print)

    scalars.add(SECOND)
    scalars.close()

    assert events.scalars(tmp_path) == {"train_loss": [(1, 0.5), (2, 0.25)]}
    purged = [each.step for each in events.read(tmp_path) if each.session_log.status]
    assert purged == [1]


def test_a_missing_package_is_said_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    said = []
    scalars = Scalars(tmp_path, [], said.append)

    scalars.add(FIRST)
    scalars.add(SECOND)
    scalars.close()

    assert len(said) == 1
    assert "TensorBoard" in said[0]


def test_a_folder_that_cannot_be_is_said_once(tmp_path):
    (tmp_path / "file").write_text("no folder")
    said = []
    scalars = Scalars(tmp_path / "file", [], said.append)

    scalars.add(FIRST)
    scalars.add(SECOND)
    scalars.close()

    assert len(said) == 1
