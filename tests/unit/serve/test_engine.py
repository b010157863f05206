"""Which arithmetic the engine takes, and how its name and environment come about."""

import os
from pathlib import Path

import pytest

from container.settings import Settings
from serve.engine import spawn
from serve.engine.spawn import environment
from serve.engine.torch import choose_precision
from serve.plan import Plan


@pytest.mark.parametrize(
    ("flags", "device", "wanted", "expected"),
    [
        pytest.param("sse avx2", "cpu", "auto", "float32", id="plain processor"),
        pytest.param("sse avx512_bf16", "cpu", "auto", "bfloat16", id="avx512_bf16"),
        pytest.param("sse amx_bf16", "cpu", "auto", "bfloat16", id="amx"),
        pytest.param("sse", "cuda", "auto", "bfloat16", id="gpu"),
        pytest.param("sse amx_bf16", "cpu", "float32", "float32", id="as told"),
    ],
)
def test_precision(tmp_path: Path, flags: str, device: str, wanted: str, expected: str) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags\t: {flags}\n")

    assert choose_precision(wanted, device, cpuinfo) == expected


def test_each_engine_sees_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    first = environment(2, 1)["CUDA_VISIBLE_DEVICES"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
    second = environment(2, 1)["CUDA_VISIBLE_DEVICES"]

    assert (first, second) == ("1", "GPU-7")
    assert environment(3, None)["OMP_NUM_THREADS"] == "3"


def test_an_engine_that_was_begun_early_is_taken_over_once(tiny_artifact: Path) -> None:
    settings = Settings.read({"PRECISION": "float32"})
    plan = Plan.make(settings, 0)
    orders = spawn.orders(tiny_artifact / "model", settings, plan, None)
    environment = spawn.environment(plan.threads, None)

    spawn.begin(orders, environment)
    first = spawn.started(orders, environment)
    second = spawn.started(orders, environment)

    assert first.process.pid != second.process.pid
    spawn.begin(orders, environment)
    other = spawn.started({**orders, "threads": 99}, environment)
    running = [each.process.poll() is None for each in (first, second, other)]
    assert running == [True, True, True]
    for each in (first, second, other):
        each.process.kill()
        each.process.wait()
        for sock in each.sockets:
            sock.close()
        os.close(each.control)
        os.close(each.lifeline)
