"""The profiler's rules on measurements made by hand: each fires, is silent, or does not apply."""

import json

import numpy as np
import pytest

from debugger.profiler import fit, rules
from debugger.profiler.measured import STAGES, Measured, Operator, Series, Steps
from debugger.verdict import Status

T0 = 1_700_000_000.0
FIRED, SILENT, ABSENT = Status.ISSUES_FOUND, Status.NO_ISSUES_FOUND, Status.NOT_APPLICABLE


def series(kind, name, dimension, values, host="algo-1", late=0.0):
    values = np.array(values, np.float64)
    return Series(host, kind, name, dimension, T0 + late + 0.5 * np.arange(len(values)), values)


def cpu(values, core=0, **more):
    return series("cpu", f"cpu{core}", "CPUUtilization", values, **more)


def wait(values, core=0, **more):
    return series("cpu", f"cpu{core}", "I/OWaitPercentage", values, **more)


def gpu(values, number=0, **more):
    return series("gpu", f"gpu{number}", "GPUUtilization", values, **more)


def gpu_memory(values, number=0, **more):
    return series("gpu", f"gpu{number}", "GPUMemoryUtilization", values, **more)


def memory(values, **more):
    return series("memory", "MemoryUsedPercent", "", values, **more)


def steps(seconds, wait_share=0.0, late=0.0, slow_stage="", rank=0):
    seconds = np.array(seconds, np.float64)
    stages = {name: np.zeros(len(seconds)) for name in STAGES}
    stages["data_wait"] = seconds * wait_share
    stages["forward"] = seconds.min() * (1 - wait_share) * np.ones(len(seconds))
    if slow_stage:
        stages[slow_stage] = stages[slow_stage] + seconds - seconds.min()
    count = len(seconds)
    starts = T0 + late + np.cumsum(seconds) - seconds
    return Steps("algo-1", rank, np.arange(count), np.ones(count, int), starts, seconds, stages,
                 np.full(count, 32))  # fmt: skip


def verdict(name, *measured, **parameters):
    return rules.judge(name, Measured(
        [each for each in measured if isinstance(each, Series)],
        [each for each in measured if isinstance(each, Steps)],
        began=T0,
    ), parameters)  # fmt: skip


def flat(value, count=600):
    return [value] * count


def test_every_rule_has_a_verdict_on_nothing_and_it_is_not_health():
    found = rules.verdicts(Measured())

    assert [each.rule for each in found] == list(rules.RULES)
    assert len(found) == 11
    for each in found:
        assert each.status is ABSENT
        assert each.reason
        assert each.advice == ""


# processors and disks beside GPUs


@pytest.mark.parametrize(
    ("core", "card", "status"),
    [(95, 5, FIRED), (95, 15, SILENT), (80, 5, SILENT), (90, 5, SILENT), (95, 10, SILENT),
     (90.01, 9.99, FIRED)],
)  # fmt: skip
def test_a_cpu_bottleneck_is_a_busy_core_beside_an_idle_gpu(core, card, status):
    found = verdict(
        "cpu_bottleneck", cpu(flat(1, 200)), cpu(flat(core, 200), 1), gpu(flat(card, 200))
    )

    assert found.status is status
    assert found.looked_at == 200
    assert ("num_workers" in found.advice) == (status is FIRED)


def test_a_cpu_bottleneck_needs_more_than_half_of_the_moments():
    def found(stuck):
        cores = [95] * stuck + [10] * (200 - stuck)
        return verdict("cpu_bottleneck", cpu(cores), gpu(flat(0, 200)))

    assert found(100).status is SILENT
    assert found(101).status is FIRED
    assert found(101).details["share_percent"] == 50.5


@pytest.mark.parametrize(("count", "status"), [(100, ABSENT), (101, FIRED)])
def test_a_bottleneck_is_judged_after_patience(count, status):
    assert verdict("cpu_bottleneck", cpu(flat(99, count)), gpu(flat(0, count))).status is status


def test_points_within_20_ms_are_one_moment_and_later_ones_another():
    def found(late):
        return verdict("cpu_bottleneck", cpu(flat(99, 200)), gpu(flat(0, 200), late=late))

    assert found(0.015).status is FIRED
    assert found(0.2).status is ABSENT
    assert found(0.2).looked_at == 0


def test_hosts_are_not_mixed():
    found = verdict("cpu_bottleneck", cpu(flat(99, 200)), gpu(flat(0, 200), host="algo-2"))

    assert found.status is ABSENT


@pytest.mark.parametrize(
    ("waiting", "card", "parameters", "status"),
    [
        (60, 50, {}, FIRED),  # the guide's gpu_threshold of 70
        (60, 50, {"gpu_threshold": "10"}, SILENT),  # the SDK's
        (60, 5, {"gpu_threshold": "10"}, FIRED),
        (50, 5, {}, SILENT),
        (60, 70, {}, SILENT),
    ],
)
def test_an_io_bottleneck_is_a_core_that_waits_beside_an_idle_gpu(
    waiting, card, parameters, status
):
    found = verdict("io_bottleneck", wait(flat(waiting, 1200)), gpu(flat(card, 1200)), **parameters)

    assert found.status is status


def test_an_io_bottleneck_is_judged_after_a_thousand_moments():
    assert verdict("io_bottleneck", wait(flat(99, 1000)), gpu(flat(0, 1000))).status is ABSENT
    assert verdict("io_bottleneck", gpu(flat(0, 1200))).status is ABSENT


# GPUs


@pytest.mark.parametrize(
    ("cores", "use", "filled", "status"),
    [(20, 30, 20, FIRED), (70, 30, 20, SILENT), (20, 70, 20, SILENT), (20, 30, 70, SILENT),
     (69.9, 69.9, 69.9, FIRED)],
)  # fmt: skip
def test_a_batch_is_too_small_where_nothing_is_used(cores, use, filled, status):
    found = verdict(
        "batch_size",
        cpu(flat(cores)),
        cpu(flat(cores), 1),
        gpu(flat(use)),
        gpu_memory(flat(filled)),
    )

    assert found.status is status


def test_a_batch_grows_by_what_the_memory_holds():
    found = verdict("batch_size", cpu(flat(20)), gpu(flat(30)), gpu_memory(flat(20)))

    assert "batch_size times 4" in found.advice
    assert "20 % x 4 = 80 %" in found.gain


@pytest.mark.parametrize(
    ("count", "parameters", "status"),
    [(500, {}, ABSENT), (501, {}, FIRED), (501, {"patience": "1000"}, ABSENT),
     (1001, {"patience": "1000"}, FIRED)],
)  # fmt: skip
def test_a_batch_is_judged_after_window_and_patience(count, parameters, status):
    measured = cpu(flat(1, count)), gpu(flat(1, count)), gpu_memory(flat(1, count))

    assert verdict("batch_size", *measured, **parameters).status is status


@pytest.mark.parametrize(
    ("values", "status", "word"),
    [
        (flat(60, 1100), FIRED, "too little"),
        (flat(70, 1100), SILENT, ""),
        (flat(71, 1100), SILENT, ""),
        ([0] * 20 + [99] * 80, FIRED, "now busy, now idle"),
        ([0] * 2 + [99] * 98, SILENT, ""),
    ],
)
def test_a_gpu_is_little_used_or_unsteadily(values, status, word):
    found = verdict("low_gpu_utilization", gpu((values * 11)[:1100]))

    assert found.status is status
    assert word in found.reason


def test_only_the_last_window_counts():
    found = verdict("low_gpu_utilization", gpu(flat(0, 1000) + flat(99, 500)))

    assert found.status is SILENT
    assert verdict("low_gpu_utilization", gpu(flat(0, 1000))).status is ABSENT


@pytest.mark.parametrize(
    ("after", "status"), [(31, FIRED), (30, SILENT), (20, SILENT), (5, SILENT)]
)
def test_memory_that_rises_between_two_windows_fires(after, status):
    found = verdict("gpu_memory_increase", gpu_memory(flat(20, 700) + flat(after, 700)))

    assert found.status is status


def test_the_old_rules_reading_compares_windows_one_point_apart():
    jump = gpu_memory(flat(20, 700) + flat(90, 700))
    sdk = {"increase": "5", "patience": "1000", "window": "10"}

    documented = verdict("gpu_memory_increase", jump, lag="1")
    of_sdk = verdict(
        "gpu_memory_increase", gpu_memory(flat(20, 1100) + flat(90, 10)), lag="1", **sdk
    )
    small = verdict(
        "gpu_memory_increase", gpu_memory(flat(20, 1100) + flat(69, 10)), lag="1", **sdk
    )

    assert documented.status is SILENT  # (90 - 20) / 500 is not above 10: it never can be
    assert of_sdk.status is FIRED  # (90 - 20) / 10 is above 5
    assert small.status is SILENT


def test_memory_that_rose_before_patience_is_a_start():
    early = gpu_memory(flat(0, 30) + flat(80, 1200))

    assert verdict("gpu_memory_increase", early, window="10", patience="100").status is SILENT
    assert verdict("gpu_memory_increase", gpu_memory(flat(1, 1000))).status is ABSENT


@pytest.mark.parametrize(
    ("other", "status"),
    [(flat(20, 50), FIRED), (flat(90.5, 50), SILENT), ([90] * 40 + [20] * 10, SILENT)],
)
def test_gpus_that_are_used_differently_are_not_balanced(other, status):
    found = verdict("load_balancing", gpu(flat(90, 50)), gpu(other, 1))

    assert found.status is status


def test_every_pair_is_compared_and_full_use_counts():
    found = verdict(
        "load_balancing", gpu(flat(100, 50)), gpu(flat(100, 50), 1),
        gpu(flat(99, 50), host="algo-2"), gpu(flat(0, 50), 1, host="algo-2"),
    )  # fmt: skip

    assert found.times == 3
    assert found.details["pairs"][0]["distance"] == pytest.approx(np.log(2) ** 0.5)


def test_one_gpu_needs_no_balance():
    assert "one GPU" in verdict("load_balancing", gpu(flat(9))).reason
    assert verdict("load_balancing", gpu(flat(9, 10)), gpu(flat(99, 10), 1)).status is ABSENT
    assert verdict("load_balancing", gpu(flat(9, 11)), gpu(flat(99, 11), 1)).status is FIRED


# loading, start, steps


def loaders(count, points=50):
    return series("loader", "LoaderProcesses", "", flat(count, points))


def cores(count):
    return [cpu(flat(50, 50), core) for core in range(count)]


@pytest.mark.parametrize(
    ("processes", "share", "parameters", "status"),
    [
        (1, 0.30, {}, FIRED),
        (1, 0.05, {}, FIRED),
        (1, 0.01, {}, SILENT),  # nobody waits
        (1, 0.01, {"min_wait": "0"}, FIRED),  # the SDK's reading
        (1, None, {}, FIRED),
        (7, 0.30, {}, SILENT),
        (20, 0.0, {}, SILENT),
        (21, 0.0, {}, FIRED),
    ],
)
def test_too_few_or_too_many_processes_load_photos(processes, share, parameters, status):
    timed = [] if share is None else [steps(flat(1.0, 10), share)]

    found = verdict("dataloader", loaders(processes), *cores(10), *timed, **parameters)

    assert found.status is status
    assert ("num_workers=10" in found.advice) == (status is FIRED)


def test_loading_is_not_judged_where_nobody_loads():
    assert "cached features" in verdict("dataloader", *cores(2)).reason
    assert verdict("dataloader", loaders(1, 10), *cores(2)).status is ABSENT


@pytest.mark.parametrize(("minutes", "status"), [(5, SILENT), (20, SILENT), (20.1, FIRED)])
def test_the_first_step_may_take_twenty_minutes(minutes, status):
    found = verdict("max_initialization_time", steps([1.0], late=60 * minutes))

    assert found.status is status


def test_no_step_at_all_fires_once_the_time_is_over():
    assert verdict("max_initialization_time", cpu(flat(1, 100))).status is ABSENT
    assert verdict("max_initialization_time", cpu(flat(1, 2500))).status is FIRED


def outliers(count, of=2000):
    return [0.1] * (of - count) + [5.0] * count


@pytest.mark.parametrize(("count", "status"), [(0, SILENT), (10, SILENT), (11, FIRED)])
def test_more_than_ten_outliers_fire(count, status):
    found = verdict("step_outlier", steps(outliers(count), slow_stage="data_wait"))

    assert found.status is status
    if status is FIRED:
        assert found.details["stage"] == "data_wait"
        assert "num_workers" in found.advice
        assert found.times == 11


def test_outliers_are_named_by_what_grew():
    found = verdict("step_outlier", steps(outliers(20), slow_stage="hook"))

    assert "debug_save_interval" in found.advice
    assert found.details["steps"][0] == 1980


def test_the_sdks_three_deviations_find_more():
    timed = steps([1.0, 1.02] * 500 + [1.05] * 15)

    assert verdict("step_outlier", timed).status is SILENT
    assert verdict("step_outlier", timed, stddev="3").status is FIRED


def test_few_steps_and_other_modes_are_not_judged():
    assert verdict("step_outlier", steps(flat(1.0, 100))).status is ABSENT
    assert verdict("step_outlier", steps(flat(1.0, 101))).status is SILENT
    assert verdict("step_outlier", steps(flat(1.0, 101)), mode="TRAIN").status is SILENT
    assert "EVAL" in verdict("step_outlier", steps(flat(1.0, 101)), mode="EVAL").reason


# the machine


def test_a_job_at_65_per_cent_cpu_and_28_per_cent_memory_is_told_a_smaller_machine_would_do():
    """A published job: 65 % of the processors at most, memory at 27 % and at most 28 %."""
    random = np.random.default_rng(0)
    use = np.append(np.clip(random.normal(55, 8, 1200), 20, 65), 65)
    gib = 1 << 30

    found = smaller(
        *(cpu(use, core) for core in range(4)),
        *(wait(use * 0, core) for core in range(4)),
        memory([27.0] * 1000 + [28.0] * 201),
        series("memory", "MemoryTotalInBytes", "", flat(16.0 * gib, 20)),
    )

    assert "a smaller machine would do" in found.change
    assert "2 cores" in found.change
    assert "8.0 GiB" in found.change
    assert "two jobs at a time" in found.change
    assert "at most 65 % of 4 cores" in found.why
    assert "28 % of the memory (4.5 GiB)" in found.why
    # half the cores: every moment's work, 2 x its share, takes that share of longer, at least once
    stretch = np.maximum(1, use / 50).mean()
    assert f"at most {stretch:.2f} times as long" in found.gain
    assert f"{stretch / 2:.2f} of the cost" in found.gain
    assert "memory is at 56 %" in found.gain


def smaller(*measured):
    """The advice to take a smaller machine, if any."""
    found = fit.advise(Measured(series=list(measured)))
    return next((each for each in found if each.subject == "smaller"), None)


@pytest.mark.parametrize(
    ("use", "filled", "advised"), [(69.9, 44.9, True), (70, 20, False), (20, 45, False)]
)
def test_a_machine_is_too_large_below_both_thresholds(use, filled, advised):
    assert bool(smaller(cpu(flat(use)), memory(flat(filled)))) is advised


def test_the_wait_for_disks_is_no_use_of_a_processor():
    assert smaller(cpu(flat(90)), memory(flat(20))) is None
    assert "p95 30 %" in smaller(cpu(flat(90)), wait(flat(60)), memory(flat(20))).why


def test_the_busiest_host_decides():
    small = [cpu(flat(20)), memory(flat(10))]
    large = [cpu(flat(95), host="algo-2"), memory(flat(10), host="algo-2")]

    assert smaller(*small)
    assert smaller(*small, *large) is None
    assert smaller(cpu(flat(20, 20)), memory(flat(10, 20))) is None


def test_the_overall_use_is_told_and_never_an_issue():
    found = verdict("overall_system_usage", cpu([10, 30]), cpu([30, 50], 1), memory([40, 60]),
                    gpu([0, 100]))  # fmt: skip

    assert found.status is SILENT
    assert found.details["algo-1"]["cpu"]["max"] == 40
    assert found.details["algo-1"]["cpu"]["p50"] == 30
    assert found.details["algo-1"]["memory"]["min"] == 40
    assert found.details["algo-1"]["gpu"]["p50"] == 50


def test_the_shares_of_the_stages_are_told_and_never_an_issue():
    operators = [Operator("aten::mm", "operator", 2, 0.5, 0.25)]
    measured = Measured(steps=[steps(flat(2.0, 10), 0.25)], operators=operators)

    found = rules.judge("overall_framework_metrics", measured, {})

    assert found.status is SILENT
    assert found.details["shares"]["data_wait"] == 0.25
    assert found.details["shares"]["forward"] == 0.75
    assert sum(found.details["shares"].values()) == pytest.approx(1)
    assert found.details["operators"][0]["name"] == "aten::mm"


# parameters


def test_parameters_are_strings_and_stand_in_the_verdict():
    found = verdict("cpu_bottleneck", cpu(flat(85, 60)), gpu(flat(0, 60)),
                    cpu_threshold="80", patience="50", scan_interval_us="60000000")  # fmt: skip

    assert found.status is FIRED
    assert found.parameters == {
        "threshold": "50", "gpu_threshold": "10", "cpu_threshold": "80", "patience": "50",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"threshhold": "5"}, "threshhold"), ({"threshold": "much"}, "much")],
)
def test_a_parameter_that_is_none_is_an_error_of_that_rule_alone(parameters, message):
    found = {each.rule: each for each in
             rules.verdicts(Measured(), {"cpu_bottleneck": parameters})}  # fmt: skip

    assert found["cpu_bottleneck"].status is Status.ERROR
    assert message in found["cpu_bottleneck"].reason
    assert found["io_bottleneck"].status is ABSENT


def test_verdicts_are_json():
    series = [cpu(flat(20)), memory(flat(20)), gpu(flat(30)), gpu(flat(9), 1), gpu_memory(flat(9))]
    found = rules.verdicts(Measured(series, [steps(flat(1.0, 200))], began=T0))

    assert json.loads(json.dumps([each.as_dict() for each in found]))


def test_measurements_of_something_else_are_no_use_of_the_system():
    found = verdict("overall_system_usage", series("loader", "LoaderProcesses", "", [4] * 30))

    assert found.status == ABSENT
