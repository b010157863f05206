"""Step timing, spreads of values, and what a trace says."""

import gzip
import json
import time

import numpy as np
import pytest
import torch

from debugger.profiler import operators
from debugger.profiler.measured import STAGES
from debugger.profiler.spread import Spread
from debugger.profiler.stages import Stages
from debugger.profiler.summary import Times
from debugger.profiler.timeline import Step

CPU = torch.device("cpu")


@pytest.fixture
def timed():
    done = []
    return Stages(CPU, done.append), done


def stage_of(step, name):
    return step.stages[STAGES.index(name)]


def test_stages_of_micro_batches_are_summed_and_nothing_is_lost(timed):
    stages, done = timed
    begun = time.perf_counter()
    stages.begin()
    for _ in range(2):
        for name, seconds in (("data_wait", 0.02), ("forward", 0.01), ("backward", 0.01)):
            stages(name)
            time.sleep(seconds)
    stages("optimizer")
    time.sleep(0.01)
    stages.end(7, 3, 16)
    whole = time.perf_counter() - begun

    assert [(step.number, step.epoch, step.images) for step in done] == [(7, 3, 16)]
    assert stage_of(done[0], "data_wait") >= 0.04
    assert stage_of(done[0], "forward") >= 0.02
    assert stage_of(done[0], "backward") >= 0.02
    assert stage_of(done[0], "optimizer") >= 0.01
    assert sum(done[0].stages) <= done[0].seconds <= whole + 1e-9


def test_a_step_begins_where_the_one_before_it_ended(timed):
    stages, done = timed
    for number in range(3):
        stages("forward")
        time.sleep(0.01)
        stages.end(number, 1, 8)

    ends = [step.start + step.seconds for step in done]
    assert [step.start for step in done[1:]] == pytest.approx(ends[:-1], abs=1e-5)


def test_what_was_not_finished_is_dropped(timed):
    stages, done = timed
    stages("forward")
    time.sleep(0.05)
    before = time.time()
    stages.begin()
    begun = time.time()
    stages("forward")
    stages.end(0, 1, 8)

    assert before - 0.01 <= done[0].start <= begun + 0.01
    assert done[0].seconds <= time.time() - done[0].start


def test_the_hooks_seconds_are_told_apart_from_the_stage_they_were_in(timed):
    stages, done = timed
    stages("forward")
    time.sleep(0.03)
    stages.hook(0.02)
    stages("backward")
    stages.hook(5.0)  # more than the stage had: a clock that was set is no reason for less than 0
    stages.end(0, 1, 8)

    assert stage_of(done[0], "hook") >= 0.02
    assert stage_of(done[0], "forward") >= 0.01
    assert stage_of(done[0], "backward") == 0
    assert sum(done[0].stages) <= done[0].seconds + 1e-9


def test_a_mark_costs_little(timed):
    stages, done = timed
    begun = time.thread_time()
    for _ in range(10_000):
        stages("forward")

    assert (time.thread_time() - begun) / 10_000 < 20e-6


def test_nothing_is_timed_once_it_is_off(timed):
    stages, done = timed
    stages.off = True
    stages("forward")
    stages.end(0, 1, 8)

    assert done[0].seconds == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu_stages_are_the_devices():
    done = []
    device = torch.device("cuda")
    stages = Stages(device, done.append)
    large = torch.rand(4096, 4096, device=device)
    for number in range(5):
        stages("forward")
        for _ in range(20):
            large = torch.tanh(large @ large)
        stages("backward")
        stages.end(number, 1, 8)
    stages.finish()

    assert [step.number for step in done] == [0, 1, 2, 3, 4]
    assert all(stage_of(step, "forward") > 10 * stage_of(step, "backward") for step in done[1:])


def test_percentiles_are_right_within_one_per_cent_in_bounded_memory():
    values = np.random.default_rng(0).lognormal(-3, 1.5, 20_000)
    spread = Spread()
    for value in values:
        spread.add(value)

    for percent in (1, 50, 90, 95, 99, 99.9):
        assert spread.percentile(percent) == pytest.approx(
            np.percentile(values, percent), rel=0.015
        )
    assert (spread.most, spread.least) == (values.max(), values.min())
    assert spread.total == pytest.approx(values.sum())
    assert spread.percentile(100) == pytest.approx(values.max(), rel=0.02)
    middles, counts = spread.values()
    assert sum(counts) == 20_000
    assert np.average(middles, weights=counts) == pytest.approx(values.mean(), rel=0.01)


def test_many_values_at_once_are_the_same_as_one_by_one():
    values = np.append(np.random.default_rng(1).lognormal(-3, 2, 500), [0.0, 1e-9, 1e12])
    one, many = Spread(), Spread()
    for value in values:
        one.add(value)
    many.add_all(values)
    many.add_all(values[:0])

    assert many.values() == one.values()
    assert (many.count, many.most, many.least) == (one.count, one.most, one.least)


@pytest.mark.parametrize("value", [0.0, 1e-9, 1e12])
def test_values_out_of_range_are_kept_as_they_are(value):
    spread = Spread()
    spread.add(value)

    assert spread.percentile(50) == value


def test_shares_of_stages_add_up():
    times = Times()
    for number in range(10):
        times.add(Step(number, 1, 8, 0.0, 1.0, (0.25, 0.05, 0.3, 0.2, 0.1, 0.0)))

    assert times.share("data_wait") == pytest.approx(0.25)
    assert times.share("other") == pytest.approx(0.1)
    assert times.share(*times.stages) == pytest.approx(1)
    assert Times().share("forward") == 0


def event(name, start, length, category="cpu_op", thread=1):
    return {"ph": "X", "cat": category, "name": name, "pid": 1, "tid": thread, "ts": start,
            "dur": length, "args": {"x": [1, {"y": "}"}]}}  # fmt: skip


def written(tmp_path, events, end="}"):
    path = tmp_path / "trace.json.gz"
    text = (
        '{"schemaVersion": 1, "traceEvents": [\n' + ",\n".join(map(json.dumps, events)) + "]" + end
    )
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_time_alone_is_without_what_ran_inside(tmp_path):
    path = written(tmp_path, [
        event("learn", 0, 100, "python_function"), event("conv", 10, 50), event("add", 20, 10),
        event("add", 40, 10), event("conv", 70, 20), event("other thread", 0, 100, thread=2),
        {"ph": "M", "name": "process_name"}, {"ph": "X", "cat": ["odd"], "name": "odd"},
    ])  # fmt: skip

    found = operators.read(path, 200e-6)

    alone = {each.name: (each.kind, each.calls, round(each.seconds * 1e6), each.share)
             for each in found.operators}  # fmt: skip
    assert alone == {
        "learn": ("python", 1, 30, pytest.approx(0.15)),
        "conv": ("operator", 2, 50, pytest.approx(0.25)),
        "add": ("operator", 2, 20, pytest.approx(0.1)),
        "other thread": ("operator", 1, 100, pytest.approx(0.5)),
    }
    assert found.operators[0].name == "other thread"


def test_kernels_that_overlap_count_once_for_the_devices_time(tmp_path):
    path = written(tmp_path, [
        event("gemm", 0, 10, "kernel", 7), event("gemm", 5, 10, "kernel", 8),
        event("copy", 30, 10, "gpu_memcpy", 7),
        event("cudaStreamSynchronize", 0, 25, "cuda_runtime"),
        event("cudaLaunchKernel", 0, 5, "cuda_runtime"),
    ])  # fmt: skip

    found = operators.read(path, 100e-6)

    assert found.device_seconds == pytest.approx(25e-6)
    assert found.waited_seconds == pytest.approx(25e-6)
    assert [(each.name, each.calls, each.kind) for each in found.operators] == [
        ("gemm", 2, "kernel"), ("copy", 1, "kernel"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "{}", "[", "nothing", '{"traceEvents": 5}', '{"traceEvents"'])
def test_a_trace_that_is_none_has_no_events(text):
    assert list(operators.events(text)) == []


def test_a_trace_that_was_cut_has_its_whole_events():
    text = json.dumps({"traceEvents": [event("a", 0, 1), event("b", 1, 1)]})

    assert [each["name"] for each in operators.events(text[:-20])] == ["a"]
    assert [each["name"] for each in operators.events(json.dumps([event("c", 0, 1)]))] == ["c"]
