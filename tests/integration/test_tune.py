"""Whole searches by the real program: trials are real training jobs on photos made in code."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from artifact.inference import Classifier
from tests.tree import ROOT, TINY, Tree

QUICK = {**TINY, "epochs": "2", "image_size": "16"}


def without(*names):
    return {name: value for name, value in QUICK.items() if name not in names}


def request(trials=3, parallel=1, ranges=None, strategy="Random", static=QUICK, **config):
    return {
        "HyperParameterTuningJobConfig": {
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize", "MetricName": "validation_top1_accuracy",
            },
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": parallel,
            },
            "ParameterRanges": ranges or {"ContinuousParameterRanges": [
                {"Name": "lr", "MinValue": "0.0001", "MaxValue": "0.01"},
            ]},
            "RandomSeed": 5,
            **config,
        },
        "TrainingJobDefinition": {"StaticHyperParameters": static},
    }  # fmt: skip


@pytest.fixture
def tree(tmp_path):
    made = Tree(tmp_path / "ml")
    made.channel("train", 8)
    made.channel("validation", 3)
    return made


def command(tree, asked, **environment):
    tree.config("tuning.json", asked)
    own = {**os.environ, "SAGEMAKER_BASE_DIR": str(tree.root), "PYTHONPATH": str(ROOT)}
    return [sys.executable, "-m", "container.entrypoint", "tune"], {**own, **environment}


def tune(tree, asked, **environment):
    words, own = command(tree, asked, **environment)
    return subprocess.run(
        words, env=own, cwd=ROOT, capture_output=True, text=True, timeout=600
    )  # fmt: skip


def folder(tree, *parts):
    return tree.root.joinpath("output", "tuning", *parts)


def rows(tree):
    head, *lines = (line.split(",") for line in folder(tree, "trials.csv").read_text().splitlines())
    return [dict(zip(head, line, strict=False)) for line in lines]


def test_a_search_ends_with_the_best_model_its_hyperparameters_and_a_page(tree):
    done = tune(tree, request(), TUNE_KEEP_MODELS="1")

    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(tree)
    assert [row["state"] for row in found] == ["complete"] * 3
    values = [float(row["validation_top1_accuracy"]) for row in found]
    assert values == sorted(values, reverse=True)
    best = json.loads(folder(tree, "hyperparameters.json").read_text())
    assert best["lr"] == found[0]["lr"]
    assert best["network"] == "small_cnn"
    number = f"{int(found[0]['trial']):04d}"
    assert [path.parent.name for path in folder(tree, "trials").glob("*/model")] == [number]
    assert tree.description["hyperparameters"]["learning_rate"] == float(best["lr"])
    assert Classifier(tree.root / "model")
    page = folder(tree, "tuning.html").read_text()
    for word in ("History", "Parallel coordinates", "plotly"):
        assert word in page
    assert 'src="http' not in page
    assert '"showSendToCloud": false' in page  # no button sends a plot away
    assert re.search(r"best: trial \d", done.stdout)
    assert folder(tree, "trials", "0001", "output", "data", "report.html").is_file()


def test_a_grid_of_categories_runs_every_combination_two_at_a_time(tree):
    ranges = {"CategoricalParameterRanges": [
        {"Name": "learning_rate", "Values": ["0.001", "0.01"]},
        {"Name": "batch_size", "Values": ["4", "8"]},
    ]}  # fmt: skip

    asked = request(4, 2, ranges, "Grid", static=without("learning_rate", "batch_size"))
    done = tune(tree, asked)

    assert done.returncode == 0, done.stdout + done.stderr
    assert len({(row["learning_rate"], row["batch_size"]) for row in rows(tree)}) == 4


def test_a_diverged_trial_is_pruned(tree):
    ranges = {"CategoricalParameterRanges": [
        {"Name": "learning_rate", "Values": ["0.001", "100"]},
    ]}  # fmt: skip
    wild = {**QUICK, "optimizer": "sgd", "momentum": "0.999", "weight_decay": "10",
            "warmup_epochs": "0", "epochs": "20", "schedule": "constant"}  # fmt: skip

    done = tune(tree, request(trials=2, ranges=ranges, strategy="Grid", static=wild))

    assert done.returncode == 0, done.stdout + done.stderr
    states = {row["learning_rate"]: row["state"] for row in rows(tree)}
    assert states == {"0.001": "complete", "100": "pruned"}


def test_a_failed_trial_says_why_and_the_others_go_on(tree):
    ranges = {"CategoricalParameterRanges": [
        {"Name": "warmup_epochs", "Values": ["0", "2"]}, {"Name": "epochs", "Values": ["2", "1"]},
    ]}  # fmt: skip

    done = tune(tree, request(trials=4, ranges=ranges, strategy="Grid", static=without("epochs")))

    assert done.returncode == 0, done.stdout + done.stderr
    failed = [row for row in rows(tree) if row["state"] == "fail"]
    assert [(row["warmup_epochs"], row["epochs"]) for row in failed] == [("2", "1")]
    assert len(rows(tree)) == 4
    assert re.search(
        r"\(hyperparameter: 1 mistake: warmup_epochs=2.*: expected at most epochs=1", done.stdout
    )


class Started:
    """A search in the background, in a session of its own, and what it has said."""

    def __init__(self, tree, asked):
        words, own = command(tree, asked)
        self.process = subprocess.Popen(
            words, env=own, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def says(self, pattern):
        return any(re.search(pattern, line) for line in self.process.stdout)

    def end(self, signum):
        """Sends a signal and waits: the exit code, and what was said since."""
        self.process.send_signal(signum)
        with self.process.stdout as lines:
            said = lines.read()
        return self.process.wait(60), said

    def family(self):
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []


def test_killed_it_goes_on_where_it_was_and_leaves_no_process(tree):
    # the first epochs of the second trial are in its checkpoints when everything stops at once
    static = {**QUICK, "epochs": "30", "checkpoint_minutes": "0.001"}
    asked = request(trials=2, static=static)
    first = Started(tree, asked)
    assert first.says(r"^trial 1: epoch 5:")
    family = first.family()
    first.end(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=10)
    trial = [one for one in alive if "train" in " ".join(one.cmdline())]
    assert len(alive) == len(trial)  # only the trial itself, which the next start ends

    done = tune(tree, asked)

    assert done.returncode == 0, done.stdout + done.stderr
    assert not [one for one in trial if one.is_running() and one.status() != "zombie"]
    assert "trial 1: taken up again" in done.stdout
    assert "trial 0:" not in done.stdout.replace("best so far trial 0", "")
    assert len(rows(tree)) == 2
    log = folder(tree, "trials", "0001", "log.txt").read_text()
    assert re.search(r"resume: epoch \d+, step \d+ ", log)


def test_a_stop_keeps_the_best_so_far_and_the_same_command_goes_on(tree):
    asked = request(trials=2)
    first = Started(tree, asked)
    assert first.says(r"^trial 0: complete")
    time.sleep(0.5)
    code, said = first.end(signal.SIGTERM)
    assert code == 0, said
    assert "the same command goes on" in said
    assert Classifier(tree.root / "model")

    done = tune(tree, asked)

    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["state"] for row in rows(tree)] == ["complete"] * 2


def test_two_searches_do_not_share_a_folder(tree):
    first = Started(tree, request())
    assert first.says(r"^search: ")

    second = tune(tree, request())

    assert second.returncode == 1
    assert "another search is running" in second.stderr
    first.end(signal.SIGTERM)


def test_the_last_training_is_on_all_photos_where_asked(tree):
    goal = {"TargetObjectiveMetricValue": 0.0}  # which the first trial reaches

    done = tune(tree, request(TuningJobCompletionCriteria=goal), TUNE_RETRAIN="yes")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "trial 0 has reached 0; nothing more is started" in done.stdout
    assert "trials are left" not in done.stdout
    assert tree.description["training"]["train_images"] == 33
    assert tree.description["hyperparameters"]["train_on_validation"] is True


def test_a_fault_that_all_trials_share_ends_the_search_at_the_first(tmp_path):
    tree = Tree(tmp_path / "ml")
    tree.channel("train", 4, {"red": (220, 50, 40)})

    done = tune(tree, request())

    assert done.returncode == 1
    assert tree.failure.startswith("data: trial 0: classes with photos in the train split: 1")
    assert not folder(tree, "trials", "0001").exists()


def test_a_mistake_in_the_request_is_a_failure_before_any_trial(tree):
    done = tune(tree, request(strategy="Clever"))

    assert done.returncode == 1
    assert tree.failure.startswith("hyperparameter: 1 mistake in tuning.json: Strategy: 'Clever'")


def test_trials_of_an_earlier_search_are_learned_from(tree, tmp_path):
    assert tune(tree, request(trials=2)).returncode == 0
    later = Tree(tmp_path / "later")
    later.channel("train", 8)
    parents = later.root / "input" / "tuning"
    parents.mkdir(parents=True)
    folder(tree).rename(parents / "first")
    asked = request(trials=1)
    asked["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "first"}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }

    done = tune(later, asked)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "warm start: 2 of 2 trials of first" in done.stdout
    assert [row["parent"] for row in rows(later)].count("first") == 2


def test_a_head_only_sweep_shares_the_features_and_ends_in_one_engine(tree):
    static = {
        **QUICK, "fine_tune": "head", "network": "resnet18", "image_size": "64",
        "compile_engine": "auto",
    }  # fmt: skip

    done = tune(tree, request(trials=2, static=static))

    assert done.returncode == 0, done.stdout + done.stderr
    logs = [path.read_text() for path in sorted(folder(tree, "trials").glob("*/log.txt"))]
    computed = [re.search(r"features: 33 rows of \d+ numbers, (\d+) computed", log) for log in logs]
    assert [int(found.group(1)) for found in computed] == [33, 0]
    assert all("compiled engine: none, this is a search's trial" in log for log in logs)
    assert done.stdout.count("compiled engine: converted in") == 1
    assert tree.description["compiled"]["precision"] == "int8"
