"""Every benchmark by its own command, at a tiny size. No time is asserted: machines differ."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from bench.load import distinct
from benchmarks import photos, recipes, servers, setting
from tests.tree import COLOURS, Tree

ROOT = Path(__file__).resolve().parents[2]
TINY = ("--network", "small_cnn", "--image-size", "32")
SETTING = {"date", "command", "revision", "cpu", "cores", "load_average_before", "versions"}
SPEED = {"images_per_second", "p50_ms", "p99_ms"}


def run(name: str, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def last_line(done: "subprocess.CompletedProcess[str]") -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_profiler_ends_with_its_ratio_and_the_cost_of_its_parts():
    result = last_line(run("profiler", *TINY, "--updates", "2", "--turns", "2"))

    assert result.keys() == {"benchmark", "setting", "steps", "parts"}
    assert result["setting"].keys() >= SETTING | {"network", "batch", "interval_ms", "device"}
    assert len(result["steps"]["ratios"]) == 2
    assert result["steps"]["with_seconds"] > 0
    assert 0 < result["steps"]["sampler_cpu_per_second"] < 1
    assert result["parts"].keys() == {"mark_us", "step_us", "sample_us"}
    assert all(value > 0 for value in result["parts"].values())


def test_overload_ends_with_goodput_beside_the_peak_and_what_ping_took():
    result = last_line(run("overload", *TINY, "--seconds", "1", "--rounds", "1"))

    assert result["benchmark"] == "overload"
    assert result["setting"].keys() >= SETTING
    assert result["statuses"].keys() <= {"200", "503"}
    assert result["goodput_images_per_second"] > 0
    assert result["asked_per_second"] > result["peak_images_per_second"] > 0
    assert result["pings"] > 0


def test_observe_ends_with_its_ratio_and_what_scrapes_cost():
    result = last_line(run("observe", "--requests", "40", "--models", "2"))

    assert result["benchmark"] == "observe"
    assert result["setting"].keys() >= SETTING | {"requests", "models", "turns"}
    assert result["ratio"] == pytest.approx(result["request_us"] / result["decode_us"], rel=0.05)
    assert result["scrape_ms"].keys() == {"1", "2"}
    assert min(result["first_scrape_ms"], *result["scrape_ms"].values()) > 0


def test_multi_model_ends_with_hot_and_cold_answers_of_all_requests():
    short = ("--models", "2", "--requests", "4", "--concurrency", "1", "--memory-mib", "800")
    result = last_line(run("multi_model", *TINY, *short))

    assert result["benchmark"] == "multi_model"
    assert result["setting"].keys() >= SETTING | {"models", "memory_mib", "engine", "network"}
    assert result["hot"]["count"] + result["cold"]["count"] == 4
    assert result["cold"]["count"] == result["load"]["count"] >= 2
    assert result["cold"]["p50_ms"] > result["hot"]["p50_ms"] > 0
    assert result["loaded_at_most"] == 1


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """What it printed, and the file that it kept."""
    out = tmp_path_factory.mktemp("results") / "serving.json"
    short = ("--seconds", "0.3", "--rounds", "1", "--starts", "1")
    more = ("--limit", "--threads", "--plot", str(out.with_suffix(".svg")))
    return run("serving", *TINY, *short, *more, "--out", str(out)), out


def test_serving_ends_with_all_servers_figures_and_their_setting(serving):
    result = last_line(serving[0])

    assert result.keys() == {
        "benchmark", "setting", "servers", "ratio", "limit", "threads",
    }  # fmt: skip
    own = {"network", "image_size", "batch", "concurrency", "seconds", "memory", "client"}
    assert result["setting"].keys() >= SETTING | own
    assert 90_000 < result["setting"]["photos"]["bytes"] < 130_000
    assert result["servers"].keys() == {"ours", "flask"}
    for figures in result["servers"].values():
        assert figures["start_seconds"] > 0
        assert 10 < figures["memory_mib"] < figures["peak_memory_mib"]
        assert figures["at"].keys() == {"1", "8"}
        for at, speed in figures["at"].items():
            assert speed.keys() == SPEED | {"answers", "rounds", "client_cpu"}
            assert speed["images_per_second"] > 0
            assert 0 < speed["p50_ms"] <= speed["p99_ms"]
            assert speed["answers"] >= int(at)


def test_serving_ratios_are_ours_by_the_peers_and_by_the_limit(serving):
    result = last_line(serving[0])
    ours, flask, limit = result["servers"]["ours"], result["servers"]["flask"], result["limit"]

    quotient = ours["start_seconds"] / flask["start_seconds"]
    assert result["ratio"]["flask"]["start_seconds"] == pytest.approx(quotient, abs=0.01)
    assert result["ratio"]["flask"]["at"]["8"].keys() == SPEED
    best = max(each["images_per_second"] for each in ours["at"].values())
    assert limit["images_per_second"] == max(limit["ways"].values())
    assert limit["ratio"] == pytest.approx(best / limit["images_per_second"], abs=0.01)
    threads = result["threads"]
    assert threads["ratio"] == pytest.approx(threads["many_mib"] / threads["one_mib"], abs=0.01)


def test_serving_prints_a_table_and_keeps_it_with_the_result_and_a_plot(serving):
    done, out = serving

    assert re.search(r"\nimages/s, 8 at a time +[\d.]+ +[\d.]+ +[\d.]+ +higher\n", done.stdout)
    assert re.search(r"\nlimit without a server: [\d.]+ images/s ", done.stdout)
    assert json.loads(out.read_text()) == last_line(done)
    assert done.stdout.startswith(out.with_suffix(".txt").read_text())
    assert "<svg" in out.with_suffix(".svg").read_text()


@pytest.mark.skipif(
    not servers.PEERS_PYTHON.is_file() or shutil.which("java") is None,
    reason="LitServe and TorchServe: `make peers`, and Java 17",
)
def test_litserve_and_torchserve_answer_in_batches_and_leave_nothing_behind():
    short = ("--seconds", "1", "--rounds", "1", "--starts", "1", "--concurrency", "4")

    result = last_line(run("serving", *TINY, *short, "--peers", "litserve,torchserve"))

    assert result["ratio"].keys() == {"litserve", "torchserve"}
    for name in ("litserve", "torchserve"):
        assert result["servers"][name]["at"]["4"]["images_per_second"] > 0
        assert "batches of up to 8" in result["setting"]["engine"][name]
    lines = [" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if str(servers.PEERS_PYTHON.parent) in line]


def test_serving_says_what_is_missing_for_a_peer():
    done = run("serving", "--peers", "litserve", "--image", "any")

    assert done.returncode == 2
    assert "--image has no litserve: use --peers flask" in done.stderr


def test_photos_to_send_are_those_nearest_to_the_size_of_the_webs(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    (tmp_path / "bees").mkdir()
    for quality in (5, 60, 95):
        Image.fromarray(noise).save(tmp_path / "bees" / f"{quality}.jpg", quality=quality)
    Image.fromarray(noise).save(tmp_path / "ants.jpg", "GIF")
    (tmp_path / "sent").mkdir()

    photos.choose(tmp_path / "bees", tmp_path / "sent")

    sizes = [path.stat().st_size for path in sorted((tmp_path / "sent").iterdir())]
    assert len(sizes) == 3
    assert abs(sizes[0] - photos.BYTES) == min(abs(size - photos.BYTES) for size in sizes)


def test_startup_ends_with_the_imports_and_a_jobs_first_step():
    result = last_line(run("startup", "--repeats", "1", "--jobs", "1"))

    assert result.keys() == {"benchmark", "setting", "http", "engine", "train"}
    assert result["setting"].keys() >= SETTING | {"network", "image_size", "batch"}
    for side in ("http", "engine"):
        assert result[side]["import_seconds"] > 0
        assert result[side]["modules"] > 0
    assert "torch" in result["engine"]["largest"]
    job = result["train"]
    assert 0 < job["first_line_seconds"] <= job["first_step_seconds"] <= job["job_seconds"]


@pytest.fixture(scope="module")
def training():
    """With photos made up in code: their splits have other names than an ImageFolder's `val`."""
    small = ("--per-class", "4", "--crops", "2", "--updates", "1", "--starts", "1")
    counts = ("--epochs", "2", "3", "--trials", "1", "--seeds", "2")
    return run("training", *TINY, *small, *counts, OMP_NUM_THREADS="1")


def test_training_ends_with_both_sides_figures_and_says_what_was_measured(training):
    result = last_line(training)

    assert result["setting"].keys() >= SETTING | {"network", "image_size", "photos", "weights"}
    assert result["setting"]["photos"] == {"train": 32, "validation": 16}
    measured, computed = result["plain"]["measured"], result["plain"]["computed"]
    assert len(measured["epoch_seconds"]) == len(measured["accuracy"]) == 2
    whole = measured["seconds"] + measured["epoch_seconds"][1]
    assert computed == {"2": measured["seconds"], "3": pytest.approx(whole, abs=0.01)}
    assert {key: len(each["accuracy"]) for key, each in result["ours"].items()} == {"2": 2, "3": 3}
    seeded = result["seeds"]
    assert (seeded["epochs"], len(seeded["accuracy"])) == (2, 2)
    assert result["ratio"]["accuracy_difference"] == pytest.approx(
        sum(seeded["accuracy"]) / 2 - measured["accuracy"][-1], abs=1e-3
    )
    assert len(result["sweep"]["trials"]) == 1
    assert result["first_step_seconds"] > 0
    assert 0 <= result["full_fine_tuning"]["data_wait_share"] <= 1
    for line in (
        "measured: 2 epochs, s",
        "head, 2 epochs, s (plain measured)",
        "head, 3 epochs, s (plain computed)",
        "accuracy after 2 epochs (ours: 2 seeds)",
    ):
        assert line in training.stdout


def test_training_ratios_are_the_plain_scripts_time_by_ours(training):
    result = last_line(training)
    times, computed = result["ratio"], result["plain"]["computed"]

    assert times["epochs"]["3"] == pytest.approx(
        computed["3"] / result["ours"]["3"]["seconds"], abs=0.01
    )
    assert times["sweep"] == pytest.approx(computed["3"] / result["sweep"]["seconds"], abs=0.01)
    updates = result["full_fine_tuning"]
    quotient = updates["plain_step_seconds"] / updates["ours_step_seconds"]
    assert times["full_step"] == pytest.approx(quotient, abs=0.01)


def test_image_without_docker_says_so():
    done = run("image", DOCKER_HOST="unix:///nowhere.sock")

    assert done.returncode == 2
    assert "no Docker engine answers, or it has no image" in done.stderr


def test_setting_names_the_variables_that_tune(monkeypatch):
    monkeypatch.setenv("ENGINE_THREADS", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setenv("SECRET", "x")

    seen = setting.describe("serving")["environment"]

    assert (seen["ENGINE_THREADS"], seen["OMP_WAIT_POLICY"]) == ("1", "passive")
    assert "SECRET" not in seen


def test_a_refused_request_ends_the_load(server, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 and no photo")

    done = run("load", str(server.port), str(tmp_path), "2", "1")

    assert done.returncode == 1
    assert "a request failed: BenchError: HTTP 400" in done.stderr


def test_load_changes_the_file_and_not_the_picture(red_jpeg):
    bodies = [distinct(red_jpeg, text) for text in ("1-1", "1-2")]

    assert bodies[0] != bodies[1]
    seen = {Image.open(io.BytesIO(body)).tobytes() for body in [red_jpeg, *bodies]}
    assert len(seen) == 1


@pytest.fixture
def archive(tmp_path):
    """An archive like the real one: two splits, a folder per class, one folder above."""
    tree = Tree(tmp_path / "ml")
    colours = {**COLOURS, "white": (230, 230, 230)}
    for split, count in (("train", 30), ("test", 3)):
        tree.channel(split, count, colours)
    path = tmp_path / "photos.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / "ml" / "input" / "data", "photos")
    return path


def test_recipes_ends_with_the_accuracy_of_every_job(archive):
    parts = "ablation,skew,scratch,transfer" if os.environ.get("SOAK") else "ablation"
    tiny = ("--epochs", "1", "--scratch-epochs", "1", "--recipes", "test-time flip")

    done = run("recipes", str(archive), *tiny, "--parts", parts)

    result = last_line(done)
    assert result.keys() == {"benchmark", "setting", *parts.split(",")}
    assert result["setting"]["photos"] == {"train": 120, "test": 12}
    for seen in [*result["ablation"].values(), *result.get("transfer", {}).values()]:
        assert 0 <= seen["test_top1_accuracy"] <= 1
        assert seen["images_per_second"] > 0
    assert re.search(r"\ntest-time flip +[01]\.\d{4} +\d+\.\d{4} +\d+ +\d+\n", done.stdout)


def test_an_archive_that_leads_outside_is_not_unpacked(tmp_path):
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../outside"), io.BytesIO())

    with pytest.raises(tarfile.OutsideDestinationError):
        recipes.unpack(tmp_path / "bad.tar", tmp_path / "inside")

    assert not (tmp_path / "outside").exists()


def test_scaling_ends_with_the_parts_of_an_update():
    result = last_line(run("scaling", *TINY, "--batch-size", "4", "--seconds", "0.2"))

    assert result.keys() == {"benchmark", "setting", "decode", "compute", "exchange"}
    assert result["setting"].keys() >= SETTING | {"network", "image_size", "batch", "processes"}
    assert result["decode"]["images_per_second_per_core"] > 0
    assert result["compute"]["images_per_second"] > 0
    assert result["exchange"]["gradient_bytes"] > 100_000
    assert result["exchange"]["mib_per_second"] > 0


def test_tuning_ends_with_a_search_beside_as_many_plain_runs():
    small = ("--per-class", "4", "--crops", "1", "--epochs", "2", "3", "--learning-rates", "0.001")
    result = last_line(run("tuning", *TINY, *small, OMP_NUM_THREADS="1"))

    assert result.keys() == {"benchmark", "setting", "plain", "search", "ratio"}
    plain, search = result["plain"], result["search"]
    assert plain["all_seconds"] == pytest.approx(2 * sum(plain["computed"].values()), abs=0.01)
    assert search["trials"] == 4
    assert re.fullmatch(r"trial \d, validation_top1_accuracy=\d\.\d+", search["best"])
    assert result["ratio"] == pytest.approx(plain["all_seconds"] / search["seconds"], abs=0.01)


def test_samplers_ends_with_what_both_found_of_the_recorded_grid():
    result = last_line(run("samplers", "--seeds", "2", "--trials", "10"))

    assert result.keys() >= {"best_recorded", "best_found", "trials_to_99_percent"}
    for strategy in ("Random", "Bayesian"):
        assert 0.25 < result["best_found"][strategy]["10"] <= result["best_recorded"] <= 1


def test_debugger_ends_with_what_saving_costs_beside_smdebug():
    tiny = ("--rounds", "1", "--jobs", "1", "--job-epochs", "1", "--batch-size", "4")

    done = run("debugger", *TINY, *tiny, "--per-class", "3", "--crops", "1", OMP_NUM_THREADS="1")

    result = last_line(done)
    assert result.keys() == {
        "benchmark", "setting", "updates", "features", "percent", "limits",
    }  # fmt: skip
    assert result["setting"].keys() >= SETTING | {"network", "image_size", "batch", "photos"}
    ways = {f"{side} {way}" for side in ("ours", "smdebug") for way in ("idle", "saving", "head")}
    assert result["updates"]["seconds"].keys() == ways | {"none"}
    assert all(seconds > 0 for seconds in result["updates"]["seconds"].values())
    assert result["features"]["said"][0]["saved"]["TRAIN"] >= 1
    assert result["percent"].keys() == result["limits"].keys() | {"idle"}
    assert result["percent"]["unconfigured"] < 0.1
    saved = result["updates"]["seconds"]
    share = 100 * (saved["ours head"] - saved["none"]) / saved["none"]
    assert result["percent"]["head"]["ours"] == pytest.approx(share, abs=0.01)
    assert "defaults, every 500 updates" in done.stdout
