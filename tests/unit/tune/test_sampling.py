"""Values within their ranges, as strings; early stopping as the platform words it."""

import json

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from tune import sampling
from tune.reader import parse

RANGES = {
    "ContinuousParameterRanges": [
        {"Name": "lr", "MinValue": "0.001", "MaxValue": "0.1"},
        {"Name": "momentum", "MinValue": "0.5", "MaxValue": "0.999",
         "ScalingType": "ReverseLogarithmic"},
    ],
    "IntegerParameterRanges": [{"Name": "epochs", "MinValue": "2", "MaxValue": "4"}],
    "CategoricalParameterRanges": [{"Name": "batch_size", "Values": ["32", "64"]}],
}  # fmt: skip


def specification(**changes):
    return parse(json.dumps({
        "Strategy": "Random", "ParameterRanges": RANGES,
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation_loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 10, "MaxParallelTrainingJobs": 1},
        "RandomSeed": 3, **changes,
    }))  # fmt: skip


def drawn(spec, count, known=0):
    study = optuna.create_study(sampler=sampling.sampler(spec, known))
    return [sampling.suggest(study.ask(), spec) for _ in range(count)]


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_values_are_strings_within_their_ranges_and_the_same_for_a_seed(strategy):
    spec = specification(Strategy=strategy)

    values = drawn(spec, 20)

    for one in values:
        assert 0.001 <= float(one["lr"]) <= 0.1
        assert 0.5 <= float(one["momentum"]) <= 0.999
        assert one["epochs"] in ("2", "3", "4")
        assert one["batch_size"] in ("32", "64")
    assert values == drawn(spec, 20)
    assert values != drawn(spec, 20, known=1)


def test_a_reverse_logarithmic_range_is_finest_near_one():
    near = sorted(float(one["momentum"]) for one in drawn(specification(), 200))

    assert near[100] > 0.9


def study_of(*histories, maximize=True):
    study = optuna.create_study(
        direction="maximize" if maximize else "minimize", pruner=sampling.RunningAverages()
    )
    for history in histories:
        study.add_trial(create_trial(
            value=history[-1], state=TrialState.COMPLETE,
            intermediate_values=dict(enumerate(history, 1)),
        ))  # fmt: skip
    return study


@pytest.mark.parametrize(
    ("maximize", "value", "stopped"),
    # medians of (0.1, 0.3, 0.5), (0.2, 0.4, 0.6) and (0.3, 0.5, 0.7) averaged to epoch 2: 0.3
    [(True, 0.29, True), (True, 0.31, False), (False, 0.29, False), (False, 0.31, True)],
)
def test_a_trial_stops_where_it_is_worse_than_the_median_of_running_averages(
    maximize, value, stopped
):
    study = study_of((0.1, 0.3, 0.5), (0.2, 0.4, 0.6), (0.3, 0.5, 0.7), maximize=maximize)
    trial = study.ask()
    trial.report(value, 2)

    assert trial.should_prune() is stopped


def test_nothing_stops_before_there_is_something_to_compare():
    trial = study_of((0.5, 0.6), (0.6, 0.7)).ask()
    trial.report(0.0, 1)

    assert not trial.should_prune()
