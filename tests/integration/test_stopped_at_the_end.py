"""A stop after the last epoch: the model is kept, and says what there was no time for."""

import pytest

from artifact import archive
from artifact.inference import Classifier
from tests.tree import Tree

EVERYTHING = ["final_evaluation", "calibration", "compiled_engine", "report"]


@pytest.mark.parametrize(
    ("phase", "skipped"),
    [
        pytest.param("^epoch=1 ", EVERYTHING, id="the final evaluation"),
        pytest.param("^Testing Accuracy", EVERYTHING[1:], id="calibration"),
        pytest.param("^compiled engine: ", EVERYTHING[2:], id="the engine's making"),
        pytest.param("^compiled engine: .*; made in", EVERYTHING[3:], id="its check"),
    ],
)
def test_a_stop_says_what_it_left_out(tmp_path, phase, skipped):
    tree = Tree(tmp_path / "ml")
    tree.channel("train", 12)
    for split in ("validation", "test"):
        tree.channel(split, 60)

    code, log, _ = tree.interrupt(
        phase, epochs="1", evaluation_batch_size="1", compile_engine="true"
    )

    assert code == 0, log
    described = tree.description
    assert described["training"]["skipped"] == skipped
    assert described["training"]["interrupted"] is True
    assert f"skipped, since the job is to stop: {', '.join(skipped)}" in log
    assert ("test" in described["metrics"]) == ("final_evaluation" not in skipped)
    assert ("calibration" in described["metrics"]) == ("calibration" not in skipped)
    assert bool(described["compiled"]) == ("compiled_engine" not in skipped)
    assert not tree.output("report.html").exists()
    archive.check_files(tree.root / "model", archive.read_description(tree.root / "model"))
    assert Classifier(tree.root / "model")


def test_a_stop_skips_no_engine_that_was_not_to_be(tmp_path):
    tree = Tree(tmp_path / "ml")
    tree.channel("train", 12)
    tree.channel("validation", 60)

    code, log, _ = tree.interrupt("^epoch=1 ", epochs="1", evaluation_batch_size="1")

    assert code == 0, log
    assert tree.description["training"]["skipped"] == ["final_evaluation", "calibration", "report"]


def test_a_job_that_is_not_stopped_skips_nothing(tmp_path):
    tree = Tree(tmp_path / "ml")
    tree.channel("train", 6)

    assert tree.train(epochs="1").returncode == 0

    assert tree.description["training"]["interrupted"] is False
    assert tree.description["training"]["skipped"] == []
    assert tree.output("report.html").exists()
