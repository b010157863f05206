"""Control groups of both versions, from files recorded on machines that have them."""

import pytest

from container import resources

GIB = 1 << 30

VERSION_1 = {
    "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n0::/system.slice\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
    "sys/fs/cgroup/memory/memory.max_usage_in_bytes": f"{GIB - 4096}\n",
    "sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
}
VERSION_2 = {
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/memory.max": f"{GIB}\n",
    "sys/fs/cgroup/memory.peak": f"{GIB - 4096}\n",
    "sys/fs/cgroup/memory.events": "low 0\nhigh 0\nmax 91\noom 2\noom_kill 2\noom_group_kill 0\n",
}
NESTED = {
    "proc/self/cgroup": "0::/system.slice/docker-abc.scope\n",
    "sys/fs/cgroup/system.slice/docker-abc.scope/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/system.slice/docker-abc.scope/memory.max": f"{GIB}\n",
    "sys/fs/cgroup/system.slice/docker-abc.scope/memory.peak": f"{GIB - 4096}\n",
    "sys/fs/cgroup/system.slice/docker-abc.scope/memory.events": "oom 2\noom_kill 2\n",
}


def recorded(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize("files", [VERSION_1, VERSION_2, NESTED], ids=["v1", "v2", "v2 on a host"])
def test_limits_are_read_from_both_versions(tmp_path, files):
    root = recorded(tmp_path, files)

    assert resources.cpu_quota(root) == 1.5
    assert resources.memory(root) == resources.Memory(GIB, GIB - 4096, 2)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n",
         "sys/fs/cgroup/memory.events": "oom_kill 0\n"},
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
         "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"},
    ],
    ids=["no control groups", "v2", "v1"],
)  # fmt: skip
def test_no_limit_is_none(tmp_path, files):
    root = recorded(tmp_path, files)

    assert resources.cpu_quota(root) is None
    assert resources.memory(root).limit is None


def test_threads_are_planned_from_the_quota(tmp_path):
    root = recorded(tmp_path, {"sys/fs/cgroup/cpu.max": "50000 100000\n"})

    assert resources.cpu_count(root) == 1


def test_gpus_are_counted_without_a_driver(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    recorded(tmp_path, {"dev/nvidia0": "", "dev/nvidia1": "", "dev/nvidiactl": ""})

    assert resources.gpu_count(tmp_path) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert resources.gpu_count(tmp_path) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert resources.gpu_count(tmp_path) == 0
