"""From the request's ranges and strategy to Optuna's distributions, samplers and pruners."""

from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from tune.spec import Range, Specification

STARTUP_TRIALS = 10
"""At random before the Bayesian sampler has something to learn from; a third of a short search."""
STARTUP_SHARE = 3
REDUCTION = 3
"""Hyperband keeps one in so many at each rung, as its authors do."""
PRUNER_TRIALS = 3
"""Complete trials before one is stopped for being worse than their median."""


def distributions(spec: Specification) -> dict[str, BaseDistribution]:
    return dict(_distribution(one) for one in spec.ranges)


def _distribution(one: Range) -> tuple[str, BaseDistribution]:
    log = one.scaling == "Logarithmic"
    if one.kind == "categorical":
        return one.name, CategoricalDistribution(one.values)
    if one.kind == "integer":
        return one.name, IntDistribution(int(one.low), int(one.high), log=log)
    if one.scaling == "ReverseLogarithmic":  # finest near 1: momenta and decays
        return f"1 - {one.name}", FloatDistribution(1 - one.high, 1 - one.low, log=True)
    return one.name, FloatDistribution(one.low, one.high, log=log)


def suggest(trial: optuna.Trial, spec: Specification) -> dict[str, str]:
    """The trial's values, drawn where it has none yet, as the platform writes them: strings."""
    drawn: dict[str, Any] = {}
    for key, one in distributions(spec).items():
        if isinstance(one, CategoricalDistribution):
            drawn[key] = trial.suggest_categorical(key, one.choices)
        elif isinstance(one, IntDistribution):
            drawn[key] = trial.suggest_int(key, one.low, one.high, log=one.log)
        elif isinstance(one, FloatDistribution):
            drawn[key] = trial.suggest_float(key, one.low, one.high, log=one.log)
    return written(drawn, spec)


def written(params: dict[str, Any], spec: Specification) -> dict[str, str]:
    """Optuna's values as hyperparameters."""
    values = {}
    for one in spec.ranges:
        turned = f"1 - {one.name}"
        value = round(1 - params[turned], 12) if turned in params else params[one.name]
        values[one.name] = value if isinstance(value, str) else repr(value)
    return values


def sampler(spec: Specification, known: int) -> BaseSampler:
    """`known` is how many trials there are already. Grid's combinations are put in line, and need
    none of their own."""
    seed = None if spec.seed is None else spec.seed + known
    if spec.strategy in ("Random", "Grid"):
        return RandomSampler(seed=seed)
    startup = min(STARTUP_TRIALS, max(1, spec.max_trials // STARTUP_SHARE))
    # several trials at a time: one that runs counts as a bad one, or all would try the same place
    return TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=True)


def pruner(spec: Specification) -> BasePruner:
    if spec.hyperband is not None:
        return HyperbandPruner(
            spec.hyperband.least, spec.hyperband.most, reduction_factor=REDUCTION
        )
    return RunningAverages() if spec.early_stopping else NopPruner()


class RunningAverages(BasePruner):
    """The platform's early stopping, as its guide words it: a trial stops where its objective is
    worse than the median of the running averages that earlier trials had up to the same epoch.
    Source: DG/automatic-model-tuning-early-stopping."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        epoch = trial.last_step
        if epoch is None:
            return False
        value = trial.intermediate_values[epoch]
        averages = [
            np.mean([at for step, at in other.intermediate_values.items() if step <= epoch])
            for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if any(step <= epoch for step in other.intermediate_values)
        ]
        if len(averages) < PRUNER_TRIALS:
            return False
        median = float(np.median(averages))
        maximize = study.direction == optuna.study.StudyDirection.MAXIMIZE
        return value < median if maximize else value > median
