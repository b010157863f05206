"""The request of CreateHyperParameterTuningJob, read and checked.

One file drives both worlds. Here the request, or only its HyperParameterTuningJobConfig, is read;
what only the platform needs (roles, instances, the image, channels in S3) is left alone. Field
names and limits are the API's: API/CreateHyperParameterTuningJob,
DG/automatic-model-tuning-define-ranges.
"""

import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from describe import metrics
from tune.spec import RESOURCES, Hyperband, Kind, Objective, Range, Specification

STRATEGIES = ("Bayesian", "Random", "Grid", "Hyperband")
SCALINGS = ("Auto", "Linear", "Logarithmic", "ReverseLogarithmic")
MOST_RANGES, MOST_VALUES = 30, 30
JOB = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}")
"""Name of a search, as the API has it: it leads to a folder here."""
DECADES = 1.0
"""Auto scaling is logarithmic over at least so many powers of ten."""


class SpecificationError(ValueError):
    """All mistakes of a request, a line each."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("\n".join(self.mistakes))


def parse(text: str) -> Specification:
    """Raises SpecificationError."""
    try:
        request = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecificationError([f"not JSON: {error}"]) from None
    if not isinstance(request, dict):
        raise SpecificationError(
            ["expected a JSON object, CreateHyperParameterTuningJob's request"]
        )
    reader = _Reader()
    made = reader.specification(request)
    if reader.mistakes or made is None:
        raise SpecificationError(reader.mistakes)
    return made


class _Reader:
    """Reads what it can and gathers what is wrong."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def specification(self, request: dict[str, Any]) -> Specification | None:
        config = request.get("HyperParameterTuningJobConfig", request)
        if not isinstance(config, dict):
            self.mistakes.append("HyperParameterTuningJobConfig: expected an object")
            return None
        definition = self._definition(request)
        ranges = tuple(self._ranges(config.get("ParameterRanges")))
        static = self._static(definition.get("StaticHyperParameters", {}), ranges)
        strategy = config.get("Strategy", "Bayesian")
        if strategy not in STRATEGIES:
            self.mistakes.append(f"Strategy: {strategy!r}; one of {', '.join(STRATEGIES)}")
        objective = self._objective(config, definition)
        combinations = 0
        if strategy == "Grid":
            combinations = self._combinations(ranges)
        limits = self._object(config.get("ResourceLimits", {}), "ResourceLimits")
        max_trials = self._whole(
            limits, "MaxNumberOfTrainingJobs", combinations or None, "ResourceLimits"
        )
        parallel = self._whole(limits, "MaxParallelTrainingJobs", 1, "ResourceLimits")
        max_seconds = self._number(limits, "MaxRuntimeInSeconds", "ResourceLimits")
        stopping = config.get("TrainingJobEarlyStoppingType", "Off")
        if stopping not in ("Off", "Auto"):
            self.mistakes.append(f"TrainingJobEarlyStoppingType: {stopping!r}; Off or Auto")
        hyperband = self._hyperband(config, static, ranges) if strategy == "Hyperband" else None
        if strategy == "Hyperband" and stopping == "Auto":
            self.mistakes.append(
                "TrainingJobEarlyStoppingType: Hyperband stops trials itself; set it to Off"
            )
        criteria = self._object(
            config.get("TuningJobCompletionCriteria", {}), "TuningJobCompletionCriteria"
        )
        target = self._number(criteria, "TargetObjectiveMetricValue", "TuningJobCompletionCriteria")
        improving = self._object(
            criteria.get("BestObjectiveNotImproving", {}), "BestObjectiveNotImproving"
        )
        patience = self._whole(
            improving, "MaxNumberOfTrainingJobsNotImproving", 0, "BestObjectiveNotImproving"
        )
        parents = self._parents(request)
        seed = self._whole(config, "RandomSeed", -1, "HyperParameterTuningJobConfig", least=0)
        if self.mistakes or objective is None:
            return None
        return Specification(
            ranges=ranges,
            objective=objective,
            strategy=strategy,
            static=static,
            max_trials=min(max_trials, combinations) if combinations else max_trials,
            parallel_trials=parallel,
            max_seconds=max_seconds,
            early_stopping=stopping == "Auto",
            hyperband=hyperband,
            target=target,
            not_improving=patience or None,
            seed=None if seed < 0 else seed,
            parents=parents,
            ignored=tuple(self._ignored(config, request)),
        )

    def _definition(self, request: dict[str, Any]) -> dict[str, Any]:
        several = request.get("TrainingJobDefinitions")
        if several:
            if isinstance(several, list) and len(several) == 1 and isinstance(several[0], dict):
                return several[0]
            self.mistakes.append("TrainingJobDefinitions: one training job at a time is searched")
        return self._object(request.get("TrainingJobDefinition", {}), "TrainingJobDefinition")

    def _object(self, value: Any, where: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self.mistakes.append(f"{where}: expected an object")
        return {}

    def _ranges(self, given: Any) -> Iterator[Range]:
        kinds: tuple[tuple[str, Kind], ...] = (
            ("CategoricalParameterRanges", "categorical"),
            ("ContinuousParameterRanges", "continuous"),
            ("IntegerParameterRanges", "integer"),
        )
        groups = self._object(given if given is not None else {}, "ParameterRanges")
        if groups.get("AutoParameters"):
            self.mistakes.append(
                "ParameterRanges.AutoParameters: only the platform chooses ranges; give them here"
            )
        seen: set[str] = set()
        for group, kind in kinds:
            listed = groups.get(group, [])
            if not isinstance(listed, list):
                self.mistakes.append(f"{group}: expected a list")
                continue
            for at, one in enumerate(listed):
                made = self._range(one, kind, f"{group}[{at}]")
                if made is None:
                    continue
                if made.name in seen:
                    self.mistakes.append(f"{made.name}: has two ranges")
                seen.add(made.name)
                yield made
        if not seen and not self.mistakes:
            self.mistakes.append("ParameterRanges: nothing to search; give at least one range")
        if len(seen) > MOST_RANGES:
            self.mistakes.append(f"ParameterRanges: {len(seen)} ranges, at most {MOST_RANGES}")

    def _range(self, given: Any, kind: Kind, where: str) -> Range | None:
        if not isinstance(given, dict) or not isinstance(given.get("Name"), str):
            self.mistakes.append(f"{where}: expected an object with a Name")
            return None
        name = given["Name"]
        if kind == "categorical":
            return self._categorical(name, given.get("Values"))
        bounds = [_finite(given.get(key)) for key in ("MinValue", "MaxValue")]
        low, high = bounds
        if low is None or high is None:
            self.mistakes.append(f"{name}: MinValue and MaxValue must be numbers")
            return None
        if kind == "integer" and (low != int(low) or high != int(high)):
            self.mistakes.append(f"{name}: an integer range from {low} to {high}")
            return None
        if low > high:
            self.mistakes.append(f"{name}: MinValue {low:g} is above MaxValue {high:g}")
            return None
        scaling = given.get("ScalingType", "Auto")
        if scaling not in SCALINGS or (kind == "integer" and scaling == "ReverseLogarithmic"):
            known = SCALINGS if kind == "continuous" else SCALINGS[:3]
            self.mistakes.append(f"{name}: ScalingType {scaling!r}; one of {', '.join(known)}")
            return None
        if scaling == "Logarithmic" and low <= 0:
            self.mistakes.append(f"{name}: a logarithmic range starts above 0, not at {low:g}")
            return None
        if scaling == "ReverseLogarithmic" and not 0 <= low <= high < 1:
            self.mistakes.append(f"{name}: a reverse logarithmic range lies in 0 <= x < 1")
            return None
        if scaling == "Auto":
            wide = low > 0 and math.log10(high / low) >= DECADES - 1e-9
            scaling = "Logarithmic" if wide else "Linear"
        return Range(name, kind, low=low, high=high, scaling=scaling)

    def _categorical(self, name: str, values: Any) -> Range | None:
        if not isinstance(values, list) or not values:
            self.mistakes.append(f"{name}: expected a list of Values")
            return None
        texts = tuple(value if isinstance(value, str) else json.dumps(value) for value in values)
        if len(texts) > MOST_VALUES:
            self.mistakes.append(f"{name}: {len(texts)} values, at most {MOST_VALUES}")
        if len(set(texts)) < len(texts):
            self.mistakes.append(f"{name}: a value twice in {', '.join(texts)}")
        return Range(name, "categorical", texts)

    def _static(self, given: Any, ranges: tuple[Range, ...]) -> dict[str, str]:
        values = self._object(given, "StaticHyperParameters")
        for one in ranges:
            if one.name in values:
                self.mistakes.append(f"{one.name}: has a range and a static value")
        return {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in values.items()
        }

    def _objective(self, config: dict[str, Any], definition: dict[str, Any]) -> Objective | None:
        given = config.get("HyperParameterTuningJobObjective") or definition.get("TuningObjective")
        asked = self._object(given or {}, "HyperParameterTuningJobObjective")
        name, kind = asked.get("MetricName"), asked.get("Type")
        if not isinstance(name, str) or kind not in ("Maximize", "Minimize"):
            self.mistakes.append(
                "HyperParameterTuningJobObjective: expected a MetricName, and a Type of Maximize "
                "or Minimize"
            )
            return None
        algorithm = self._object(
            definition.get("AlgorithmSpecification", {}), "AlgorithmSpecification"
        )
        definitions = algorithm.get("MetricDefinitions") or []
        regex = next(
            (one.get("Regex") for one in definitions
             if isinstance(one, dict) and one.get("Name") == name), None,
        )  # fmt: skip
        if regex is None:  # the image's own, which the platform is given too
            known = {one["Name"]: one["Regex"] for one in metrics.definitions()}
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}" if near else f"known are {', '.join(known)}"
                self.mistakes.append(
                    f"MetricName: the log has no {name!r}: {hint}, or give its MetricDefinition"
                )
                return None
            regex = known[name]
        try:
            groups = re.compile(regex).groups
        except (re.error, TypeError) as error:
            self.mistakes.append(f"MetricDefinitions: {name}: {regex!r}: {error}")
            return None
        if groups < 1:
            self.mistakes.append(f"MetricDefinitions: {name}: {regex!r} has no group for the value")
        return Objective(name, regex, kind == "Maximize")

    def _combinations(self, ranges: tuple[Range, ...]) -> int:
        others = [one.name for one in ranges if one.kind != "categorical"]
        if others:
            self.mistakes.append(f"Strategy: Grid takes categorical ranges only, not {others}")
        return math.prod(len(one.values) for one in ranges if one.values)

    def _hyperband(
        self, config: dict[str, Any], static: dict[str, str], ranges: tuple[Range, ...]
    ) -> Hyperband | None:
        strategy = self._object(config.get("StrategyConfig", {}), "StrategyConfig")
        asked = self._object(strategy.get("HyperbandStrategyConfig", {}), "HyperbandStrategyConfig")
        known = next((static[name] for name in RESOURCES if name in static), None)
        least = self._whole(asked, "MinResource", 1, "HyperbandStrategyConfig")
        most = _finite(asked.get("MaxResource", known))
        if any(one.name in RESOURCES for one in ranges):
            self.mistakes.append("Hyperband: the epochs are its resource and have no range")
        if most is None or most != int(most) or most < least:
            self.mistakes.append(
                "HyperbandStrategyConfig: give MaxResource, or a static hyperparameter `epochs`, "
                f"of at least MinResource {least}"
            )
            return None
        return Hyperband(least, int(most))

    def _whole(
        self, given: dict[str, Any], key: str, default: int | None, where: str, least: int = 1
    ) -> int:
        if key not in given and default is not None:
            return default
        number = _finite(given.get(key))
        if number is None or number != int(number) or number < least:
            said = repr(given[key]) if key in given else "missing"
            self.mistakes.append(f"{where}.{key}: {said}; a whole number from {least}")
            return least
        return int(number)

    def _number(self, given: dict[str, Any], key: str, where: str) -> float | None:
        if key not in given:
            return None
        number = _finite(given[key])
        if number is None:
            self.mistakes.append(f"{where}.{key}: {given[key]!r}; a number")
        return number

    def _parents(self, request: dict[str, Any]) -> tuple[str, ...]:
        config = self._object(request.get("WarmStartConfig", {}), "WarmStartConfig")
        parents = config.get("ParentHyperParameterTuningJobs", [])
        if not isinstance(parents, list):
            self.mistakes.append("ParentHyperParameterTuningJobs: expected a list")
            return ()
        named = [one.get("HyperParameterTuningJobName") for one in parents if isinstance(one, dict)]
        names = tuple(name for name in named if isinstance(name, str) and JOB.fullmatch(name))
        if len(names) != len(parents) or len(names) > 5:
            self.mistakes.append("WarmStartConfig: up to 5 parents, each with its name")
        return names

    def _ignored(self, config: dict[str, Any], request: dict[str, Any]) -> Iterator[str]:
        criteria = config.get("TuningJobCompletionCriteria", {})
        if "ConvergenceDetected" in criteria:
            yield "TuningJobCompletionCriteria.ConvergenceDetected"
        if "Autotune" in request:
            yield "Autotune"


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
