"""The sampler on this machine, and what a container's limits make of it."""

import json
import os
import time
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pytest

from container import resources
from debugger.profiler import gpus, sampler
from debugger.profiler.machine import Machine
from debugger.profiler.read import read
from debugger.profiler.sampler import Sampler
from debugger.profiler.settings import Watched, from_hyperparameters
from tests.unit.container.test_resources import GIB, VERSION_1, VERSION_2, recorded

QUOTA_1 = {
    **VERSION_1,
    "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n",
    "sys/fs/cgroup/cpuacct/cpuacct.usage": "12500000000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB // 2}\n",
    "sys/fs/cgroup/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 4}\n",
}
QUOTA_2 = {
    **VERSION_2,
    "sys/fs/cgroup/cpu.stat": "usage_usec 12500000\nuser_usec 1\n",
    "sys/fs/cgroup/memory.current": f"{GIB // 2}\n",
    "sys/fs/cgroup/memory.stat": f"anon 1\ninactive_file {GIB // 4}\n",
}


@pytest.mark.parametrize("files", [QUOTA_1, QUOTA_2], ids=["v1", "v2"])
def test_what_a_group_uses_is_read_from_both_versions(tmp_path, files):
    root = recorded(tmp_path, files)

    assert resources.cpu_seconds(root) == 12.5
    assert resources.memory_used(root) == GIB // 4


def test_without_control_groups_nothing_is_known_of_their_use(tmp_path):
    assert resources.cpu_seconds(tmp_path) is None
    assert resources.memory_used(tmp_path) is None


def test_a_quota_makes_a_machine_of_its_own(tmp_path, monkeypatch):
    files = {**QUOTA_2, "sys/fs/cgroup/cpu.max": "50000 100000\n"}
    root = recorded(tmp_path, files)
    clock = iter((1000.0, 1000.2))
    monkeypatch.setattr("debugger.profiler.machine.time", SimpleNamespace(monotonic=clock.__next__))
    machine = Machine(root)
    used = 12.5 + 0.25 * 0.2  # half of its half a processor
    (root / "sys/fs/cgroup/cpu.stat").write_text(f"usage_usec {round(used * 1e6)}\n")

    readings = machine.read()

    cores = [each.value for each in readings if each.dimension == "CPUUtilization"]
    assert machine.cores == 0.5
    assert machine.memory_bytes == GIB
    assert cores == [pytest.approx(50)]
    assert next(each.value for each in readings if each.name == "MemoryUsedPercent") == 25


def test_this_machine_has_a_reading_of_each_kind():
    machine = Machine()
    time.sleep(0.1)
    readings = machine.read()

    kinds = {(each.type, each.name.rstrip("0123456789"), each.dimension) for each in readings}
    assert {("cpu", "cpu", "CPUUtilization"), ("cpu", "cpu", "I/OWaitPercentage"),
            ("memory", "MemoryUsedPercent", ""),
            ("network", "ReceiveBytesPerSecond", "Algorithm")} <= kinds  # fmt: skip
    percents = [each.value for each in readings if each.type in ("cpu", "memory")]
    assert all(0 <= value <= 100 for value in percents)


def made(tmp_path, said, changed=lambda settings: None, interval=100):
    config = tmp_path / "profilerconfig.json"
    watched = Watched(
        from_hyperparameters("system", interval, tmp_path / "out"), config, tmp_path / "local"
    )
    return Sampler(watched, "algo-1", 1, said.append, changed), config


def replace(config, value):
    """At once: the sampler may read it at any moment."""
    config.with_suffix(".new").write_text(json.dumps(value))
    os.replace(config.with_suffix(".new"), config)


def wait_for(reached):
    until = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_machine_is_sampled_until_the_end_and_the_cost_is_known(tmp_path):
    said = []
    sampling, _ = made(tmp_path, said)
    sampling.loaders = 3
    sampling.start()
    wait_for(lambda: sampling.samples >= 5)
    sampling.close()

    found = read(tmp_path / "out")
    by_name = {each.name: each for each in found.series}
    assert said == []
    assert sampling.samples >= 6  # the last at the end
    assert 0 < sampling.cpu_seconds < 5
    assert len(by_name["cpu0"].values) == sampling.samples
    assert by_name["LoaderProcesses"].values.tolist() == [3.0] * sampling.samples
    assert len(by_name["MemoryTotalInBytes"].values) == 1
    assert sampling.facts()["cores"] >= 1
    assert set(sampling.spreads) >= {"cpu", "iowait", "memory"}


def test_a_changed_file_changes_where_and_whether_samples_are_written(tmp_path):
    said, told = [], []
    sampling, config = made(tmp_path, said, told.append)
    sampling.start()
    wait_for(lambda: sampling.samples >= 1)
    replace(config, {"ProfilingIntervalInMilliseconds": 100})
    wait_for(lambda: (tmp_path / "local").exists())
    replace(config, {"DisableProfiler": True})
    wait_for(lambda: len(told) == 2)
    samples = sampling.samples
    time.sleep(0.3)
    sampling.close()

    assert sampling.samples == samples
    assert [each.enabled for each in told] == [True, False]


def test_samples_grow_rarer_as_their_files_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(sampler, "WIDENED_AT_BYTES", 2000)
    said = []
    sampling, _ = made(tmp_path, said)
    sampling.start()
    wait_for(lambda: sampling.widened >= 4)
    sampling.close()

    assert said[0] == "profiler: from here on every 0.2 s"


def test_a_sampler_that_fails_says_so_once_and_ends(tmp_path, monkeypatch):
    said = []
    sampling, _ = made(tmp_path, said)
    (tmp_path / "proc").symlink_to("/proc")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    sampling.start()
    wait_for(lambda: sampling.samples >= 2)
    assert not said
    (tmp_path / "proc").unlink()
    wait_for(lambda: said)
    sampling.close()

    assert len(said) == 1
    assert "no more samples: FileNotFoundError" in said[0]


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path):
    (tmp_path / "out").write_text("a file")
    said = []
    sampling, config = made(tmp_path, said)
    sampling._lines.settings = sampling._lines.settings.__class__(
        folder=tmp_path / "out", open_failures=2
    )
    sampling.start()
    wait_for(lambda: sampling.samples >= 4)
    sampling.close()

    assert len(said) == 1
    assert "samples are not written" in said[0]


class Nvml:
    """What the driver's library answers on a machine with two GPUs, one of which tells little."""

    class NVMLError(Exception):
        pass

    Use = namedtuple("Use", "gpu memory")
    Memory = namedtuple("Memory", "used total")

    def nvmlDeviceGetCount(self):  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, at):  # noqa: N802
        return at

    def nvmlDeviceGetHandleByUUID(self, name):  # noqa: N802
        return {"GPU-b": 1}[name]

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        if handle:
            raise self.NVMLError
        return self.Use(83, 12)

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        return self.Memory(3 * GIB, 12 * GIB)


@pytest.mark.parametrize(
    ("visible", "handles"),
    [(None, [0, 1]), ("1,0", [1, 0]), ("1", [1]), ("", []), ("-1", []), ("0,9,1", [0]),
     ("GPU-b", [1])],
)  # fmt: skip
def test_gpus_are_those_that_the_process_sees_in_its_order(visible, handles):
    assert gpus._handles(Nvml(), visible) == handles


def test_what_a_gpu_does_not_tell_is_left_out():
    found = gpus.Gpus()
    found.close()
    found._nvml, found._handles = Nvml(), [0, 1]

    assert [(each.name, each.dimension, each.value) for each in found.read()] == [
        ("gpu0", "GPUUtilization", 83.0), ("gpu0", "GPUMemoryUtilization", 25.0),
        ("gpu1", "GPUMemoryUtilization", 25.0),
    ]  # fmt: skip


def test_a_machine_without_gpus_has_a_reason_and_no_readings():
    found = gpus.Gpus()
    if len(found):
        pytest.skip("there is a GPU here")

    assert found.absent
    assert found.read() == []
    found.close()


@pytest.mark.gpu
@pytest.mark.skipif(not resources.gpu_count(), reason="no GPU here")
def test_a_gpu_is_measured():
    found = gpus.Gpus()

    assert found.absent == ""
    assert {each.dimension for each in found.read()} == {"GPUUtilization", "GPUMemoryUtilization"}
