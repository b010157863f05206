"""The profiler's files: written by us, read by smdebug's readers and by ours."""

import json
import os
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from debugger.profiler import timeline
from debugger.profiler.lines import Lines
from debugger.profiler.machine import Reading
from debugger.profiler.measured import STAGES
from debugger.profiler.read import read
from debugger.profiler.settings import Settings
from debugger.profiler.timeline import STEP, Step, Timeline

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # smdebug is older than the libraries that it imports
    from smdebug.profiler.algorithm_metrics_reader import LocalAlgorithmMetricsReader
    from smdebug.profiler.system_metrics_reader import LocalSystemMetricsReader

START = 1_700_000_030.25
PLATFORM = """\
{"Type":"memory","Name":"MemoryUsedPercent","Dimension":"","Value":6.18,"NodeId":"algo-1","Timestamp":1591748169.1123}
{"Type":"cpu","Name":"cpu21","Dimension":"CPUUtilization","Value":0.83,"NodeId":"algo-1","Timestamp":1591748169.2323716}
{"Type":"cpu","Name":"cpu6","Dimension":"CPUUtilization","Value":1,"NodeId":"algo-1","Timestamp":1591748169.2323716}
{"Type":"gpu","Name":"gpu0","Dimension":"GPUUtilization","Value":83,"NodeId":"algo-1","Timestamp":1591748169.2323716}
{"Type":"cpu","Dimension":"CPUUtilization","Value":7,"NodeId":"algo-2","Timestamp":1591748169.2323716}
"""


def readings(value=50.0):
    return [
        Reading("cpu", "cpu0", "CPUUtilization", value),
        Reading("i/o", "ReadThroughputInBytesPerSecond", "", 123456789.25),
    ]


def system_files(folder):
    return sorted((folder / "system").rglob("*.json"))


def test_smdebugs_reader_reads_our_samples(tmp_path):
    lines = Lines(Settings(folder=tmp_path), "host-of-mine", 1)
    for second in range(10):
        lines.write(START + second, readings(second))
    lines.close()

    reader = LocalSystemMetricsReader(str(tmp_path))
    events = reader.get_events(0, (START + 100) * 1e6)

    assert len(events) == 20
    assert {event.node_id for event in events} == {"host-of-mine"}
    assert [event.value for event in events if event.name == "cpu0"] == list(range(10))
    assert events[1].value == 123456789.25
    assert events[0].timestamp == START


def test_a_file_is_named_by_its_hour_and_second_and_never_as_the_platforms_own(tmp_path):
    lines = Lines(Settings(folder=tmp_path, rotate_seconds=1), "algo-2", 2)
    for at in (1_700_000_039.5, 1_700_000_040.9, 1_700_003_700.0):
        lines.write(at, readings())
    lines.close()

    assert [str(path.relative_to(tmp_path)) for path in system_files(tmp_path)] == [
        "system/incremental/2023111422/1700000039.algo-2.json",
        "system/incremental/2023111422/1700000041.algo-2.json",
        "system/incremental/2023111423/1700003700.algo-2.json".replace("3700", "3701"),
    ]


@pytest.mark.parametrize(
    ("limit", "files"), [({"rotate_seconds": 5.0}, 4), ({"rotate_bytes": 600}, 10)]
)
def test_a_file_ends_at_its_age_or_its_size(tmp_path, limit, files):
    lines = Lines(Settings(folder=tmp_path, **limit), "algo-1", 1)
    for second in range(20):
        lines.write(START + second, readings(), [Reading("memory", "Total", "", 1.0)])
    lines.close()

    texts = [path.read_text() for path in system_files(tmp_path)]
    assert len(texts) == files
    assert all(text.endswith("}\n") and text.count('"Total"') == 1 for text in texts)
    assert sum(text.count("cpu0") for text in texts) == 20


def test_files_that_cannot_be_opened_are_given_up_and_nothing_is_raised(tmp_path):
    (tmp_path / "system").write_text("a file in the folder's place")
    lines = Lines(Settings(folder=tmp_path, open_failures=3), "algo-1", 1)
    broken = []
    for second in range(4):
        lines.write(START + second, readings())
        broken.append(lines.broken)

    assert broken == [False, False, True, True]
    assert "system" in lines.error


def test_a_file_that_is_lost_is_told_and_the_next_sample_has_a_new_one(tmp_path):
    lines = Lines(Settings(folder=tmp_path), "algo-1", 1)
    lines.write(START, readings())
    os.close(lines._file)
    lines._file = -1  # no number that another thread could be given meanwhile

    lines.write(START + 1, readings())
    told = lines.error
    lines.write(START + 2, readings())
    lines.close()

    assert "Bad file descriptor" in told
    assert not lines.broken
    assert len(list(tmp_path.rglob("*.json"))) == 2


def step(number, start=START, seconds=0.5, epoch=1):
    return Step(number, epoch, 32, start + number * seconds, seconds,
                (0.1, 0.0, 0.15, 0.2, 0.025, 0.0))  # fmt: skip


def test_smdebugs_reader_reads_our_steps(tmp_path):
    written = Timeline(Settings(folder=tmp_path), "algo-1", 0)
    for number in range(5):
        written.add(step(number))
    written.close()

    reader = LocalAlgorithmMetricsReader(str(tmp_path))
    events = reader.get_events(0, time.time() * 1e6)
    steps = [event for event in events if event.event_name == timeline.STEP]
    stages = {event.event_phase for event in events} - {timeline.STEP}

    assert [event.event_args["step_num"] for event in steps] == ["0", "1", "2", "3", "4"]
    assert [event.duration for event in steps] == [500_000] * 5
    assert steps[1].start_time == round((START + 0.5) * 1e6)
    assert steps[0].node_id == "algo-1-0"
    assert stages == {"data_wait", "forward", "backward", "optimizer"}
    assert reader.get_events_by_step(1, 3)


def test_steps_are_read_as_they_were_timed(tmp_path):
    written = Timeline(Settings(folder=tmp_path), "my-host", 3)
    for number in range(5):
        written.add(step(number, epoch=1 + number // 3))
    written.close()

    found = read(tmp_path)

    assert len(found.steps) == 1
    steps = found.steps[0]
    assert (steps.host, steps.rank) == ("my-host", 3)
    assert steps.numbers.tolist() == [0, 1, 2, 3, 4]
    assert steps.epochs.tolist() == [1, 1, 1, 2, 2]
    assert steps.images.tolist() == [32] * 5
    np.testing.assert_allclose(steps.starts, START + np.arange(5) * 0.5, atol=1e-6)
    np.testing.assert_allclose(steps.stages["backward"], 0.2)
    assert list(steps.stages) == list(STAGES)
    assert found.began == pytest.approx(START, abs=1e-6)


def test_a_process_that_was_killed_leaves_steps_that_are_read(tmp_path):
    written = Timeline(Settings(folder=tmp_path), "algo-1", 0)
    for number in range(5):
        written.add(step(number))
    written.flush()
    path = next((tmp_path / "framework").glob("*.tmp"))
    cut = path.read_bytes()[:-30]
    written.close()  # of which a killed process has nothing
    shutil.rmtree(tmp_path / "framework" / "pevents")
    path.write_bytes(cut)

    assert read(tmp_path).steps[0].numbers.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_resumed_process_keeps_the_steps_of_the_one_that_was_killed(tmp_path, cut):
    killed, resumed = (Timeline(Settings(folder=tmp_path), "algo-1", 0) for _ in range(2))
    for number in range(5):
        killed.add(step(number))
    killed.flush()
    path = next((tmp_path / "framework").glob("*.tmp"))
    text = path.read_bytes()[:-cut]
    killed.close()
    shutil.rmtree(tmp_path / "framework" / "pevents")
    path.write_bytes(text)
    resumed.add(step(5))
    resumed.close()

    numbers = read(tmp_path).steps[0].numbers.tolist()
    reader = LocalAlgorithmMetricsReader(str(tmp_path))
    events = [each for each in reader.get_events(0, time.time() * 1e6 + 1e9)
              if each.event_name == timeline.STEP]  # fmt: skip
    assert numbers == [0, 1, 2, 3, 4, 5]
    assert len(events) == 6
    assert resumed.error == ""


def test_small_steps_are_thinned_so_that_files_stay_small(tmp_path, monkeypatch):
    monkeypatch.setattr(timeline, "MOST", 100)
    written = Timeline(Settings(folder=tmp_path), "algo-1", 0)
    for number in range(10_000):
        written.add(step(number, seconds=0.001))
    written.close()

    numbers = read(tmp_path).steps[0].numbers
    assert numbers[:100].tolist() == list(range(100))
    assert 500 < len(numbers) < 800
    assert np.diff(numbers).max() == 64


def test_a_timeline_that_cannot_be_written_raises_nothing(tmp_path):
    (tmp_path / "framework").write_text("a file")
    written = Timeline(Settings(folder=tmp_path, open_failures=2), "algo-1", 0)
    for number in range(3):
        written.add(step(number))
        written.flush()
    written.close()

    assert "framework" in written.error


def place(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("below", [".", "profiler-output", "profiler", "data/profiler"])
def test_the_platforms_own_lines_are_read_wherever_they_lie(tmp_path, below):
    place(tmp_path, f"{below}/system/incremental/2020061000/1591748160.algo-1.json", PLATFORM)

    found = read(tmp_path)

    assert [(each.host, each.name, each.dimension) for each in found.series] == [
        ("algo-1", "cpu21", "CPUUtilization"), ("algo-1", "cpu6", "CPUUtilization"),
        ("algo-1", "gpu0", "GPUUtilization"), ("algo-1", "MemoryUsedPercent", ""),
        ("algo-2", "", "CPUUtilization"),
    ]  # fmt: skip
    assert found.began == 1591748169.1123


def test_lines_that_are_cut_or_none_are_left_out(tmp_path):
    good = PLATFORM.splitlines()[1]
    bad = ["", "{", "[]", "5", '"x"', '{"Type":"cpu"}', good.replace("0.83", "NaN"),
           good.replace("0.83", '"x"'), good.replace("0.83", "null"), "[" * 5000]  # fmt: skip
    place(tmp_path, "system/incremental/1591748160.algo-1.json", "\n".join([*bad, good, good[:60]]))
    place(tmp_path, "system/incremental/1591748161.algo-1.json.gz", "no gzip at all")

    found = read(tmp_path)

    assert [each.values.tolist() for each in found.series] == [[0.83]]


def test_events_of_plain_smdebug_are_steps_without_stages(tmp_path):
    events = [
        {"name": "process_name", "ph": "M", "pid": 0,
         "args": {"start_time_since_epoch_in_micros": 1_594_662_605_425_850}},
        {"name": "Step:ModeKeys.TRAIN", "pid": 1, "ph": "X", "ts": 2_664_345, "dur": 9_020_725,
         "args": {"pid": 905, "step_num": "0"}},
        {"name": "Step:ModeKeys.EVAL", "pid": 2, "ph": "X", "ts": 14_686_880, "dur": 1,
         "args": {"pid": 905, "step_num": "0"}},
        {"name": "Step:ModeKeys.TRAIN", "pid": 1, "ph": "X", "ts": "soon", "dur": 1},
    ]  # fmt: skip
    name = "framework/pevents/2020071317/1594662624718694_905-b88ab1bb8259_pythontimeline.json"
    place(tmp_path, name, json.dumps(events))

    steps = read(tmp_path).steps

    assert [(each.host, each.rank, each.stages) for each in steps] == [("b88ab1bb8259", 905, {})]
    assert steps[0].seconds.tolist() == [9.020725]


def test_a_folder_with_nothing_in_it_is_an_empty_measurement(tmp_path):
    found = read(tmp_path)

    assert (found.series, found.steps, found.operators, found.began) == ([], [], [], None)


def test_operators_come_from_the_jobs_summary(tmp_path):
    one = {"name": "aten::mm", "kind": "operator", "calls": 3, "seconds": 0.5, "share": 0.25}
    place(tmp_path, "data/profile.json", json.dumps({"operators": [one]}))
    place(tmp_path, "profile.json", "{")

    assert [each.name for each in read(tmp_path).operators] == ["aten::mm"]


def test_reading_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("debugger.profiler.read.MOST_BYTES", 2000)
    monkeypatch.setattr("debugger.profiler.read.MOST_POINTS", 4)
    lines = Lines(Settings(folder=tmp_path, rotate_seconds=1), "algo-1", 1)
    for second in range(100):
        lines.write(START + 2 * second, readings())
    lines.close()

    times = read(Path(tmp_path)).series[0].times
    assert len(times) <= 4
    assert times[-1] - times[0] > 100


@pytest.mark.parametrize(
    "event",
    [{"dur": 5}, {"ts": 1, "dur": "long"}, {"ts": 1e300, "dur": 1}, {"ts": 1, "dur": float("nan")},
     {"ts": 1, "dur": 1, "args": {"epoch": 1e30}}],
)  # fmt: skip
def test_steps_that_are_none_are_left_out(tmp_path, event):
    folder = tmp_path / "framework" / "pevents" / "2023111422"
    folder.mkdir(parents=True)
    events = [{"name": STEP, "ph": "X", "pid": 1, **event}]
    (folder / "1700000000000000_0-algo-1_pythontimeline.json").write_text(json.dumps(events))

    assert read(tmp_path).steps == []
