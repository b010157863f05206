"""What a search remembers from start to start, wherever an earlier one was killed."""

import json

import pytest
from optuna.trial import TrialState

from container.failure import HyperparameterError
from tune import journal
from tune.keep import Keep
from tune.reader import parse
from tune.search import Search

GRID = {"CategoricalParameterRanges": [
    {"Name": "batch_size", "Values": ["4", "8", "16"]}, {"Name": "epochs", "Values": ["1", "2"]},
]}  # fmt: skip


def asked(static=None, kind="Maximize", ranges=GRID, strategy="Grid", trials=6, **config):
    return parse(json.dumps({
        "HyperParameterTuningJobConfig": {
            "Strategy": strategy, "ParameterRanges": ranges,
            "HyperParameterTuningJobObjective": {
                "Type": kind, "MetricName": "validation_top1_accuracy",
            },
            "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": 1},
            **config,
        },
        "TrainingJobDefinition": {"StaticHyperParameters": static or {"network": "resnet18"}},
    }))  # fmt: skip


def search(spec, tmp_path):
    return Search(spec, tmp_path, tmp_path / "tuning", Keep(1), print, lambda study: None)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"static": {"network": "resnet50"}}, "network: was resnet18, is resnet50"),
        ({"kind": "Minimize"}, "HyperParameterTuningJobObjective: was largest"),
        ({"strategy": "Random"}, "Strategy: was Grid, is Random"),
        ({"ranges": {"CategoricalParameterRanges": GRID["CategoricalParameterRanges"][:1]}},
         "range of epochs: was "),
    ],
)  # fmt: skip
def test_another_search_in_the_same_folder_is_refused(tmp_path, changed, said):
    search(asked(), tmp_path)

    with pytest.raises(HyperparameterError, match=said):
        search(asked(**changed), tmp_path)


def test_how_long_a_search_goes_on_may_change(tmp_path):
    search(asked(strategy="Random", trials=2), tmp_path)

    assert search(asked(strategy="Random", trials=5), tmp_path).left == 5


def test_a_grid_that_was_put_in_line_by_half_is_completed(tmp_path):
    spec = asked()
    study = journal.study(spec, tmp_path / "tuning")
    for values in list(spec.grid())[:2]:
        study.enqueue_trial(values)

    made = search(spec, tmp_path)

    drawn = [made.study.ask() for _ in range(6)]
    for trial in drawn:
        for one in spec.ranges:
            trial.suggest_categorical(one.name, one.values)
    assert len({tuple(trial.params.items()) for trial in drawn}) == 6


def test_a_grid_holds_no_more_than_its_trials():
    names = ("batch_size", "epochs", "num_workers", "log_interval", "seed")
    many = [{"Name": name, "Values": [str(at) for at in range(1, 31)]} for name in names]

    spec = asked(ranges={"CategoricalParameterRanges": many}, trials=4)

    assert len(list(spec.grid())) == 4


def test_parents_trials_are_taken_once_though_a_start_was_killed(tmp_path):
    parent = journal.study(asked(), tmp_path / "input" / "tuning" / "first")
    for values in asked().grid():
        parent.enqueue_trial(values)
        trial = parent.ask()
        for one in asked().ranges:
            trial.suggest_categorical(one.name, one.values)
        parent.tell(trial, 0.5)
    spec = parse(json.dumps({
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random", "ParameterRanges": GRID,
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize", "MetricName": "validation_top1_accuracy",
            },
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2},
        },
        "WarmStartConfig": {
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "first"}],
            "WarmStartType": "TransferLearning",
        },
    }))  # fmt: skip
    half = journal.study(spec, tmp_path / "tuning")
    for trial in parent.get_trials(states=(TrialState.COMPLETE,))[:2]:
        trial.user_attrs = {journal.PARENT: "first"}
        half.add_trial(trial)

    made = search(spec, tmp_path)

    assert len(made.study.get_trials()) == 6


@pytest.mark.parametrize("parents", [5, [{"HyperParameterTuningJobName": "../../etc"}]])
def test_a_parent_is_a_name(parents):
    with pytest.raises(ValueError, match="Parent|parents"):
        parse(json.dumps({"WarmStartConfig": {"ParentHyperParameterTuningJobs": parents}}))
