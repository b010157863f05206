"""The platform's profiler rules, judged from what was measured; one module each.

Their documented defaults (developer guide, "List of Debugger built-in rules") differ in places from
those that the Python SDK sends (smdebug_rulesconfig). Ours are the documented ones; each module
says where the SDK has another. `<` and `>` are strict, as in the platform's old open-source rules.
A rule here looks at a whole run once, where those were asked minute by minute.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

from debugger.profiler.measured import Measured
from debugger.profiler.rules import (
    batch_size,
    cpu_bottleneck,
    dataloader,
    gpu_memory_increase,
    io_bottleneck,
    load_balancing,
    low_gpu_utilization,
    max_initialization_time,
    overall_framework_metrics,
    overall_system_usage,
    step_outlier,
)
from debugger.verdict import Status, Sureness, Verdict

RULES: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        batch_size, cpu_bottleneck, dataloader, gpu_memory_increase, io_bottleneck, load_balancing,
        low_gpu_utilization, max_initialization_time, overall_framework_metrics,
        overall_system_usage, step_outlier,
    )
}  # fmt: skip

UNREAD = {"scan_interval_us", "rule_to_invoke", "rotate_interval", "base_trial"}
"""Parameters that the platform sends along and that mean nothing to a whole run."""


def verdicts(
    measured: Measured, parameters: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Verdict]:
    """Of every rule. `parameters`: rule -> parameter -> value, which may be a string, as the
    platform gives it; those that are not named have their defaults."""
    return [judge(name, measured, (parameters or {}).get(name, {})) for name in RULES]


def judge(name: str, measured: Measured, given: Mapping[str, Any]) -> Verdict:
    """Of one rule; an error in it, or in its parameters, is a verdict too."""
    module = RULES[name]
    try:
        chosen = {**module.DEFAULTS, **_read(module.DEFAULTS, given)}
        found: Verdict = module.judge(measured, chosen)
    except Exception as error:  # whatever was measured, the other rules are still asked
        return Verdict(
            rule=name, status=Status.ERROR, reason=f"{type(error).__name__}: {error}",
            sureness=Sureness.CERTAIN, parameters={k: str(v) for k, v in given.items()},
        )  # fmt: skip
    return replace(found, rule=name, parameters={k: _written(v) for k, v in chosen.items()})


def _read(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in UNREAD:
            continue
        if name not in defaults:
            raise ValueError(f"{name}: no such parameter; one of {', '.join(defaults)}")
        if isinstance(defaults[name], float):
            values[name] = float(value)
        else:
            values[name] = None if value in (None, "", "None") else str(value)
    return values


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
