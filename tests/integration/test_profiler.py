"""Whole training jobs with the profiler, whose files smdebug's readers and ours read."""

import gzip
import json
import re
import subprocess
import time
import warnings

import numpy as np
import pytest
import torch

from debugger.profiler import rules
from debugger.profiler.measured import STAGES
from debugger.profiler.read import read
from debugger.verdict import Status
from tests.tree import ROOT, Tree

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # smdebug is older than the libraries that it imports
    from smdebug.profiler.algorithm_metrics_reader import LocalAlgorithmMetricsReader
    from smdebug.profiler.system_metrics_reader import LocalSystemMetricsReader


def tree_of(folder, train=16):
    tree = Tree(folder / "ml")
    tree.channel("train", train)
    tree.channel("validation", 4)
    return tree


@pytest.fixture
def tree(tmp_path):
    return tree_of(tmp_path)


@pytest.fixture(scope="module")
def under_platform(tmp_path_factory):
    """A job with the platform's file, and what it printed."""
    tree = tree_of(tmp_path_factory.mktemp("profiled"))
    folder = tree.root / "output" / "mine"
    tree.config("profilerconfig.json", {
        "S3OutputPath": "s3://bucket/prefix", "ProfilingIntervalInMilliseconds": 100,
        "ProfilingParameters": {
            "LocalPath": str(folder), "RotateFileCloseIntervalInSeconds": "1",
            "DetailedProfilingConfig": "{'StartStep': 2, 'NumSteps': 2}",
            "DataloaderProfilingConfig": "{'StartStep': 2}",
        },
    })  # fmt: skip
    tree.config("resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1"]})
    return tree, folder, tree.train(epochs="3", num_workers="1")


def test_the_platforms_file_says_where_how_often_and_what_is_traced(under_platform):
    tree, folder, done = under_platform

    assert done.returncode == 0, done.stderr
    assert f"profiler: step times, and the machine every 100 ms, in {folder}" in done.stdout
    assert "profiler: dataloaderprofilingconfig is not served" in done.stdout
    assert tree.output("trace-steps-2-3.json.gz").is_file()
    assert not tree.output("profiler").exists()
    assert "profiler: turned off" not in done.stdout
    assert "Kineto" not in done.stderr


def test_smdebugs_readers_read_a_jobs_samples_and_steps(under_platform):
    _, folder, _ = under_platform

    now = time.time() * 1e6
    samples = LocalSystemMetricsReader(str(folder)).get_events(0, now)
    events = LocalAlgorithmMetricsReader(str(folder)).get_events(0, now)

    assert len(list((folder / "system").rglob("*.json"))) > 1
    assert {"CPUUtilization", "I/OWaitPercentage"} <= {each.dimension for each in samples}
    assert {each.node_id for each in samples} == {"algo-1"}
    numbers = [int(each.event_args["step_num"]) for each in events
               if each.event_name == "Step:ModeKeys.TRAIN"]  # fmt: skip
    assert sorted(numbers) == [number for number in range(18) if number not in (2, 3)]


def test_our_reader_and_rules_find_the_same(under_platform):
    tree, folder, _ = under_platform

    found = read(tree.root / "output" / "mine")

    steps = found.steps[0]
    assert (steps.host, steps.rank, len(steps.numbers)) == ("algo-1", 0, 16)
    assert sorted(set(steps.epochs.tolist())) == [1, 2, 3]
    assert steps.images.tolist() == [8] * 16
    whole = np.sum([steps.stages[name] for name in STAGES], axis=0)
    assert (whole <= steps.seconds + 1e-5).all()
    assert (whole > 0.5 * steps.seconds).all()
    verdicts = {each.rule: each for each in rules.verdicts(found)}
    assert Status.ERROR not in {each.status for each in verdicts.values()}
    assert verdicts["max_initialization_time"].status is Status.NO_ISSUES_FOUND
    assert verdicts["overall_system_usage"].status is Status.NO_ISSUES_FOUND
    assert verdicts["overall_framework_metrics"].status is Status.NO_ISSUES_FOUND
    if not torch.cuda.is_available():
        assert verdicts["batch_size"].status is Status.NOT_APPLICABLE


def test_a_trace_opens_and_has_python_stacks_and_the_stages(under_platform):
    tree, _, _ = under_platform

    trace = json.loads(gzip.decompress(tree.output("trace-steps-2-3.json.gz").read_bytes()))

    events = trace["traceEvents"]
    names = [str(each.get("name", "")) for each in events]
    functions = [each for each in events if each.get("cat") == "python_function"]
    assert any("train/loop.py" in each["name"] and "learn" in each["name"] for each in functions)
    assert any("Python parent id" in each["args"] for each in functions)
    assert "aten::convolution" in names
    assert names.count("stage: optimizer") >= 2
    assert all({"ts", "dur", "pid", "tid"} <= each.keys() for each in functions)


def test_a_summary_holds_what_the_log_says(under_platform):
    tree, _, done = under_platform
    summary = json.loads(tree.output("profile.json").read_text())

    assert summary["format"] == 1
    assert summary["steps"]["count"] == 16
    assert summary["steps"]["images"] == 128
    shares = [each["share"] for each in summary["stages"].values()]
    assert sum(shares) == pytest.approx(1, abs=0.01)
    assert set(summary["stages"]) == {*STAGES, "other"}
    assert summary["trace"]["first"] == 2
    assert summary["trace"]["steps"] == 2
    assert {each["kind"] for each in summary["operators"]} >= {"operator", "python"}
    assert summary["sampling"]["cores"] >= 1
    assert summary["sampling"]["samples"] > 3
    assert set(summary["shares"]) == {"data", "forward", "backward", "sync", "idle"}
    assert len(summary["verdict"]) == 5
    for line in summary["verdict"]:
        assert f"  {line}\n" in done.stdout
    assert re.search(r"^profile: 16 steps, milliseconds by stage$", done.stdout, re.MULTILINE)
    assert re.search(r"^  backward +\d+\.\d%( +\d+\.\d\d){5}$", done.stdout, re.MULTILINE)


def test_without_the_platforms_file_measurements_go_into_the_output_folder(tree):
    done = tree.train(epochs="1", profiler_interval_ms="100")

    assert done.returncode == 0, done.stderr
    found = read(tree.root / "output")
    assert found.series
    assert len(found.steps[0].numbers) == 6
    assert not list(tree.output(".").glob("trace*"))


def test_off_measures_nothing_and_the_result_is_the_same(tree):
    measured = tree.train(epochs="1")
    weights = (tree.root / "model" / "weights.safetensors").read_bytes()
    lines = tree.output("metrics.jsonl").read_text()
    for path in (tree.root / "checkpoints", tree.root / "output"):
        subprocess.run(["rm", "-r", path], check=True)
    without = tree.train(epochs="1", profile="off")

    assert (measured.returncode, without.returncode) == (0, 0)
    assert "profile: " in measured.stdout
    assert "profile: " not in without.stdout
    assert not tree.output("profile.json").exists()
    assert not tree.output("profiler").exists()
    assert (tree.root / "model" / "weights.safetensors").read_bytes() == weights
    timed = {"images_per_second", "data_wait_share"}
    before, after = ({k: v for k, v in json.loads(text).items() if k not in timed}
                     for text in (lines, tree.output("metrics.jsonl").read_text()))  # fmt: skip
    assert before == after


def test_the_platform_turns_it_off_and_the_log_says_who(tree):
    tree.config("profilerconfig.json", {"DisableProfiler": True})

    done = tree.train(epochs="1", profile="steps:1-2")

    assert done.returncode == 0, done.stderr
    assert "profiler: off: DisableProfiler in profilerconfig.json" in done.stdout
    assert not list((tree.root / "output").rglob("*timeline.json"))
    assert not list((tree.root / "output").rglob("*.algo-1.json"))
    assert not tree.output("profile.json").exists()


def test_a_folder_that_cannot_be_written_never_ends_the_job(tree):
    blocked = tree.root / "output" / "blocked"
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("a file in the folder's place")
    parameters = {"LocalPath": str(blocked), "FileOpenFailThreshold": "2"}
    told = {"ProfilingIntervalInMilliseconds": 100, "ProfilingParameters": parameters}
    tree.config("profilerconfig.json", told)

    done = tree.train(epochs="2")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("profiler: samples are not written") == 1


def test_cached_features_leave_the_backbone_out_of_the_steps(tree):
    done = tree.train(epochs="2", fine_tune="head")

    assert done.returncode == 0, done.stderr
    summary = json.loads(tree.output("profile.json").read_text())
    assert summary["steps"]["count"] == 12
    assert summary["steps"]["p50"] < 1
    found = read(tree.root / "output")
    assert found.began <= found.steps[0].starts[0]


def test_several_processes_have_a_file_each(tree):
    command, environment = tree.command(epochs="1", num_workers="0", profile="steps:1-2")
    program = [command[0], "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "-m", "train"]  # fmt: skip

    done = subprocess.run(
        program, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300
    )

    assert done.returncode == 0, done.stderr[-3000:]
    found = read(tree.root / "output")
    assert [(each.host, each.rank) for each in found.steps] == [("algo-1", 0), ("algo-1", 1)]
    assert len(list(tree.output(".").glob("trace-*"))) == 1
    assert done.stdout.count("profile: where the time went") == 1
    shares = rules.judge("overall_framework_metrics", found, {}).details["shares"]
    assert shares["optimizer"] > 0
