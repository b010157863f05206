"""The program diagnose over folders of all kinds: exit codes, table, JSON, a user's own rule."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from debugger.report.write import PAGE, RECORD
from local_test import photos
from tests.saved import Saved
from tests.tree import ROOT, Tree

OWN_RULE = """
from smdebug.rules.rule import Rule


class Custom(Rule):
    def __init__(self, base_trial, threshold=10.0):
        super().__init__(base_trial, action_str="")
        self.threshold = float(threshold)

    def invoke_at_step(self, step):
        print("a rule may print")
        for name in self.base_trial.tensor_names(collection="gradients"):
            if abs(self.base_trial.tensor(name).value(step)).max() > self.threshold:
                return True
        return False


class Broken(Custom):
    def invoke_at_step(self, step):
        raise KeyError("mine")
"""


def diagnose(*words, environment=None, code=None):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "container.entrypoint", "diagnose", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}, cwd=ROOT,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


def status(folder):
    made = json.loads((folder / RECORD).read_text())
    return {each["rule"]: each["status"] for each in made["verdicts"]}


@pytest.fixture
def job(tmp_path):
    """A healthy job's tensors as plain smdebug leaves them on S3: `debug-output` below the job."""
    saved = Saved(tmp_path / "job" / "debug-output")
    random = np.random.default_rng(0)
    for step in range(6):
        saved.save({
            "Net_fc.weight": random.normal(size=9), "gradient/Net_fc.weight": random.normal(size=9),
            "CrossEntropyLoss_output_0": np.float32(2 - step / 4),
        })  # fmt: skip
    return tmp_path / "job"


def test_a_healthy_job_ends_with_0_and_a_json_with_every_rule(job):
    done = diagnose(job, code=0)

    last = done.stdout.splitlines()[-1]
    healthy = list(status(job).values()).count("NoIssuesFound")
    assert 0 < healthy < 22
    assert last.startswith(f"no issue found by {healthy} rules; {22 - healthy} rules had nothing")
    made = json.loads((job / RECORD).read_text())
    assert made["version"] == 1
    assert made["issues"] == []
    assert made["tensors"]["saved_steps"] == 6
    assert len(made["verdicts"]) == 22
    assert status(job)["vanishing_gradient"] == "NoIssuesFound"
    assert status(job)["dead_relu"] == "NotApplicable"


def test_silence_is_not_health(job):
    done = diagnose(job, "--rules", "dead_relu", code=0)

    assert done.stdout.splitlines()[-1].startswith("nothing can be said about this job; 1 rules")
    assert "no issue" not in done.stdout


def test_an_archive_in_a_folder_is_read_and_what_leads_out_of_it_is_not(job, tmp_path):
    folder = tmp_path / "downloaded"
    folder.mkdir()
    shutil.copytree(job, tmp_path / "whole" / "tensors")
    with tarfile.open(folder / "output.tar.gz", "w:gz") as tar:
        hostile = tarfile.TarInfo("../out.json")
        hostile.size = 2
        tar.addfile(hostile, io.BytesIO(b"{}"))
        tar.add(tmp_path / "whole", ".")

    done = diagnose(folder, "--rules", "vanishing_gradient", code=0)

    assert status(folder) == {"vanishing_gradient": "NoIssuesFound"}
    assert "1 files do not fit or lead out of it" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == [
        "output.tar.gz", "profiler-report.html", RECORD
    ]  # fmt: skip
    archive = (folder / "output.tar.gz").read_bytes()
    (folder / "output.tar.gz").write_bytes(archive[: len(archive) // 2])
    assert "cannot be unpacked" in diagnose(folder, "--rules", "overfit").stderr


def test_pipes_and_devices_are_no_files(job):
    os.mkfifo(job / "doctor.json")
    os.mkfifo(job / "debug-output" / "index" / "000000000" / "000000000009_worker_0.json")
    (job / "metrics.jsonl").symlink_to("/dev/zero")

    done = diagnose(job, code=0)

    assert "no regular file" in done.stderr
    assert status(job)["vanishing_gradient"] == "NoIssuesFound"


def test_an_index_of_any_bytes_costs_its_own_step_only(job):
    [index] = (job / "debug-output" / "index" / "000000000").glob("000000000004_*.json")
    index.write_bytes(b"[" * 100_000)

    diagnose(job, code=0)

    made = json.loads((job / RECORD).read_text())
    [found] = [each for each in made["verdicts"] if each["rule"] == "vanishing_gradient"]
    assert found["looked_at"] == 5


def test_an_index_that_leads_nowhere_costs_its_own_tensors_only(job):
    for number, path in enumerate(sorted((job / "debug-output" / "index").rglob("*.json"))[:4]):
        index = json.loads(path.read_text())
        for tensor in index["tensor_payload"]:
            tensor["start_idx"] = ["x", None, 1e300, 2**70][number]
        path.write_text(json.dumps(index))

    done = diagnose(job, code=0)

    assert "rules failed" not in done.stdout
    made = json.loads((job / RECORD).read_text())
    [found] = [each for each in made["verdicts"] if each["rule"] == "vanishing_gradient"]
    assert found["looked_at"] == 2


def test_text_that_no_file_can_hold_costs_no_report(job):
    # half a surrogate pair: JSON can hold it, UTF-8 cannot
    (job / "model").mkdir()
    (job / "model" / "model.json").write_text('{"versions": {"torch": "\\ud800"}}')

    done = diagnose(job, "--rules", "vanishing_gradient", code=0)

    assert "report: " in done.stdout
    assert "torch" in (job / PAGE).read_text(encoding="utf-8")
    assert "no issue found by 1 rules" in done.stdout


def test_an_issue_ends_with_3_and_comes_first(job):
    Saved(job / "debug-output").save({"gradient/Net_fc.weight": np.zeros(9)}, at=6)

    done = diagnose(job, "--rules", "overfit,vanishing_gradient", code=3)

    assert done.stdout.startswith("vanishing_gradient  IssuesFound")
    assert "1 issue: vanishing_gradient" in done.stdout
    assert list(status(job)) == ["vanishing_gradient", "overfit"]


def test_out_takes_what_the_folder_does_not(job, tmp_path):
    diagnose(job, "--out", tmp_path / "out", code=0)

    assert status(tmp_path / "out")
    assert not (job / RECORD).exists()
    # a folder that nobody can write costs the files, not the verdict
    assert "give --out" in diagnose(job, "--out", "/proc/nowhere", code=0).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["/nowhere/at/all"], "no such folder", id="missing"),
        pytest.param(["EMPTY"], "nothing that a diagnosis reads", id="empty"),
        pytest.param(["JOB", "--rules", "overfitt"], "did you mean overfit?", id="no such rule"),
        pytest.param(["JOB", "--rules", "overfit:patiense=1"], "patiense: no such parameter",
                     id="no such parameter"),
        pytest.param(["JOB", "--rules", '["overfit"'], "not JSON", id="not JSON"),
        pytest.param(["JOB", "--rules", "none.such:Rule"], "ModuleNotFoundError", id="no module"),
        pytest.param(["JOB", "--nonsense"], "unrecognized arguments", id="no such option"),
        pytest.param(["JOB", "--rules", "similar_across_runs:other_trials=/nowhere"],
                     "no tensors there", id="no other job"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_ends_with_2_and_says_why(job, tmp_path, words, message):
    (tmp_path / "empty").mkdir()
    places = {"JOB": job, "EMPTY": tmp_path / "empty"}

    done = diagnose(*(places.get(word, word) for word in words), code=2)

    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_rules_are_listed_with_their_parameters():
    done = diagnose("--list", code=0)

    assert "vanishing_gradient: " in done.stdout
    assert "threshold=1e-07" in done.stdout


def test_a_users_own_rule_walks_with_ours_and_may_break(job, tmp_path):
    path = tmp_path / "rules.py"
    path.write_text(OWN_RULE)
    rules = f"{path}:Custom:threshold=1,{path}:Broken,nan_or_inf"

    done = diagnose(job, "--rules", rules, code=3)

    found = status(job)
    assert found == {"Custom": "IssuesFound", "Broken": "Error", "nan_or_inf": "NoIssuesFound"}
    assert "KeyError: 'mine' at rules.py:" in done.stdout
    assert "a rule may print" not in done.stdout


def test_damaged_files_are_explained_and_the_rest_is_judged(job):
    tensors = job / "debug-output"
    [event] = tensors.glob("events/000000000002/*.tfevents")
    event.write_bytes(b"\0" * 40)
    [gone] = tensors.glob("events/000000000003/*.tfevents")
    gone.unlink()
    [index] = (tensors / "index" / "000000000").glob("000000000004_*.json")
    index.write_bytes(b"\xff\xfe{")
    rows = '{"epoch": 1, "train_loss": 2.0}\n{"epoch": 2, "tra\n{"epoch": 3, "step": null}\n'
    (job / "metrics.jsonl").write_text(rows)

    done = diagnose(job, code=0)

    assert "files of tensors are damaged" in done.stderr
    assert "line 2 is not JSON" in done.stderr
    assert "line 3: step is no whole number" in done.stderr
    assert "Error" not in status(job).values()
    made = json.loads((job / RECORD).read_text())
    gradients = next(v for v in made["verdicts"] if v["rule"] == "vanishing_gradient")
    assert gradients["looked_at"] == 3  # of six steps, three are damaged
    shutil.rmtree(tensors / "collections")
    [path] = [tensors / "collections" / "000000000"]
    path.mkdir(parents=True)
    (path / "worker_0_collections.json").write_text("{")
    assert "is damaged" in diagnose(job, code=0).stderr


def test_a_failed_jobs_folder_is_read(tmp_path):
    output = tmp_path / "ml" / "output"
    output.mkdir(parents=True)
    (output / "failure").write_text("non-finite-loss: the loss is nan in epoch 1, step 3; layer fc")

    # with no folder named it is the job of this container
    done = diagnose(code=3, environment={"SAGEMAKER_BASE_DIR": str(tmp_path / "ml")})

    assert "layer fc" in done.stdout
    assert status(output / "data")["nan_or_inf"] == "IssuesFound"


def test_a_prefix_on_s3_is_as_good_as_a_folder(account, client, job, tmp_path):
    client("s3").create_bucket(Bucket="dogs-bucket")
    for path in job.rglob("*"):
        if path.is_file():
            client("s3").upload_file(
                str(path), "dogs-bucket", f"project/output/job-1/{path.relative_to(job)}"
            )
    client("s3").put_object(Bucket="dogs-bucket", Key="project/output/job-1/model.tar.gz", Body=b"")

    done = diagnose(
        "s3://dogs-bucket/project/output/job-1", "--out", tmp_path / "out", environment=account,
        code=0,
    )  # fmt: skip

    assert "13 files" in done.stderr  # collections, and an index and events for six steps
    assert status(tmp_path / "out")["vanishing_gradient"] == "NoIssuesFound"
    compared = "similar_across_runs:other_trials=s3://dogs-bucket/project/output/job-1"
    same = diagnose(job, "--rules", compared, environment=account, code=0)
    assert "similar_across_runs  NoIssuesFound" in same.stdout
    absent = diagnose(job, "--rules", compared + "2", environment=account, code=2)
    assert "job-12: nothing there that a diagnosis reads" in absent.stderr
    nothing = diagnose("s3://dogs-bucket/nothing", environment=account, code=2)
    assert "nothing there that a diagnosis reads" in nothing.stderr
    assert "NoSuchBucket" in diagnose("s3://no-such-bucket/x", environment=account, code=2).stderr


def test_a_head_trained_at_0_0877_is_called_what_it_is(tmp_path):
    """As published: one epoch of a frozen network's head; the loss in the tens, accuracy by chance.
    No tensor was saved: metrics.jsonl and model.json are enough."""
    tree = Tree(tmp_path / "ml")
    photos.make(tree.root / "input" / "data", 24)
    trained = tree.train(
        epochs="1", learning_rate="0.0877", network="resnet18", fine_tune="head", image_size="64",
        optimizer="adam", schedule="constant", warmup_epochs="0",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr

    done = diagnose(tree.root, code=3)

    made = json.loads((tree.root / RECORD).read_text())
    assert made["issues"][0] == "learning_rate_too_high"
    [found] = [each for each in made["verdicts"] if each["rule"] == "learning_rate_too_high"]
    assert found["sureness"] == "certain"
    assert found["details"]["times_chance"] > 5
    assert "learning_rate=0.0877 is too high" in found["reason"]
    assert "learning_rate=0.001" in found["advice"]
    assert "learning_rate=0.001" in done.stdout
