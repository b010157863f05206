"""From the request's ranges and strategy to Optuna's samplers and pruners."""

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from tune.spec import Range, Specification

STARTUP_TRIALS = 10
"""At random before the Bayesian sampler has something to learn from; a third of a short search."""
STARTUP_SHARE = 3
PRUNER_TRIALS = 3
"""Whole trials before one is stopped for being worse than their median."""


def sampler(spec: Specification) -> BaseSampler:
    """Grid needs none of its own: its combinations are put in line."""
    if spec.strategy in ("Random", "Grid"):
        return RandomSampler(seed=spec.seed)
    startup = min(STARTUP_TRIALS, max(1, spec.max_trials // STARTUP_SHARE))
    # several trials at a time: one that runs counts as a bad one, or all would try the same place
    return TPESampler(
        seed=spec.seed, n_startup_trials=startup, multivariate=True, constant_liar=True
    )


def pruner(spec: Specification) -> BasePruner:
    if spec.hyperband is not None:
        return HyperbandPruner(spec.hyperband.least, spec.hyperband.most, reduction_factor=3)
    if spec.early_stopping:
        return MedianPruner(n_startup_trials=PRUNER_TRIALS, n_warmup_steps=0)
    return NopPruner()


def suggest(trial: optuna.Trial, ranges: tuple[Range, ...]) -> dict[str, str]:
    """Values as the platform writes them: strings."""
    return {one.name: _one(trial, one) for one in ranges}


def _one(trial: optuna.Trial, one: Range) -> str:
    if one.kind == "categorical":
        return str(trial.suggest_categorical(one.name, one.values))
    log = one.scaling == "Logarithmic"
    if one.kind == "integer":
        return str(trial.suggest_int(one.name, int(one.low), int(one.high), log=log))
    if one.scaling == "ReverseLogarithmic":  # finest near 1: momenta and decays
        rest = trial.suggest_float(f"1 - {one.name}", 1 - one.high, 1 - one.low, log=True)
        return repr(1 - rest)
    return repr(trial.suggest_float(one.name, one.low, one.high, log=log))
