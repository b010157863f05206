"""Rules beside a running training: what they say, and what their actions do."""

import contextlib
import json
import subprocess
import time

import psutil
import pytest

from artifact.inference import Classifier
from tests.cluster import Hosts
from tests.tree import ROOT, TINY, Tree
from tune.trial import Trial

OBJECTIVE = r"validation_top1_accuracy=([0-9.]+)"
SURE = "tensor_variance:max_threshold=1e-12"
"""Weights always vary by more: it fires at the first saved step."""


@pytest.fixture
def tree(tmp_path):
    tree = Tree(tmp_path / "ml")
    tree.channel("train", 16)
    tree.channel("validation", 6)
    return tree


def verdicts(tree):
    return json.loads(tree.output("verdicts.json").read_text())


def trial(tree, action):
    """A trial of a search whose hyperparameters ask for a rule; epochs for minutes."""
    made = Trial(tree.root / "tuning" / "0000", tree.root, "trial")
    made.prepare(
        {**TINY, "epochs": "500", "rules": SURE, "rule_action": action}, "validation:accuracy"
    )
    return made, made.run(OBJECTIVE, {"PYTHONPATH": str(ROOT)}, lambda epoch, value: True)


def test_a_warning_is_said_once_and_the_job_goes_on(tree):
    done = tree.train(epochs="2", rules=f"all,{SURE}", debug_save_interval="1")

    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if "rule tensor_variance" in line]
    assert len(said) == 1, done.stdout
    made = verdicts(tree)
    assert made["ended_by"] == made["stopped_by"] == ""
    assert len(made["verdicts"]) == 22
    found = {each["rule"]: each["status"] for each in made["verdicts"]}
    assert found["tensor_variance"] == "IssuesFound"
    assert found["vanishing_gradient"] == "NoIssuesFound"
    assert found["nan_or_inf"] == "NoIssuesFound"
    assert 0 < made["cpu_share"] < 1
    assert tree.description["training"]["ended_by"] == ""


def test_a_rule_that_cannot_be_made_or_breaks_costs_no_other(tree):
    (tree.root / "rules.py").write_text(
        "from smdebug.rules.rule import Rule\n\n\n"
        "class Broken(Rule):\n"
        "    def __init__(self, base_trial):\n"
        '        super().__init__(base_trial, action_str="")\n\n'
        "    def invoke_at_step(self, step):\n"
        '        raise KeyError("mine")\n'
    )
    rules = ["vanishing_gradient", f"{tree.root}/rules.py:Broken", f"{tree.root}/no.py:Mine",
             {"name": "similar_across_runs", "other_trials": "/nowhere"}]  # fmt: skip

    done = tree.train(epochs="1", rules=json.dumps(rules))

    assert done.returncode == 0, done.stderr
    found = {each["rule"]: each["status"] for each in verdicts(tree)["verdicts"]}
    assert found == {
        "vanishing_gradient": "NoIssuesFound", "Broken": "Error", "Mine": "Error",
        "similar_across_runs": "Error",
    }  # fmt: skip
    assert "rule Broken failed: KeyError: 'mine'" in done.stdout
    assert "rule similar_across_runs failed: /nowhere: no tensors there" in done.stdout


def test_rules_alone_have_what_they_need_saved(tree):
    done = tree.train(epochs="2", rules="overfit,vanishing_gradient")

    assert done.returncode == 0, done.stderr
    assert "losses, gradients from hyperparameters, every 10 updates" in done.stdout
    # what a handful of photos teaches is chance; that both could judge it is not
    found = [each["status"] for each in verdicts(tree)["verdicts"]]
    assert len(found) == 2
    assert set(found) <= {"NoIssuesFound", "IssuesFound"}


def test_stop_and_keep_best_ends_a_trial_as_early_stopping_does(tree):
    made, outcome = trial(tree, "stop_and_keep_best")

    assert outcome.state == "complete", (made.folder / "log.txt").read_text()
    assert outcome.reason.startswith("rule tensor_variance at step 0")
    assert outcome.value is not None
    described = json.loads((made.folder / "model" / "model.json").read_text())
    assert described["training"]["ended_by"] == outcome.reason
    assert described["training"]["epochs_completed"] < 500
    assert described["training"]["final_evaluation"] == "validation"
    assert Classifier(made.folder / "model")
    report = (made.folder / "output" / "data" / "report.html").read_text()
    assert "Ended early" in report


@pytest.mark.parametrize(
    ("action", "code"), [pytest.param("stop_and_keep_best", 0), pytest.param("stop", 1)]
)
def test_all_processes_of_a_job_end_together(tmp_path, action, code):
    hosts = Hosts(tmp_path, 2)
    hosts.channel("train", 16)
    hosts.channel("validation", 6)

    hosts.start(epochs="500", rules=SURE, rule_action=action)

    assert hosts.wait(200) == [code, code], hosts.logs[0].read_text()
    if code:
        assert hosts.trees[0].failure.startswith("rule: rule tensor_variance at step 0")
    else:
        assert "tensor_variance" in hosts.trees[0].description["training"]["ended_by"]


def test_stop_ends_a_trial_with_the_rule_as_its_reason(tree):
    made, outcome = trial(tree, "stop")

    assert outcome.state == "pruned", (made.folder / "log.txt").read_text()
    assert outcome.reason.startswith("rule: rule tensor_variance at step 0: ")
    assert "rule_action=warn" in outcome.reason
    said = json.loads((made.folder / "output" / "data" / "verdicts.json").read_text())
    assert "tensor_variance" in said["stopped_by"]


def test_the_death_of_the_rules_never_harms_the_job(tree):
    command, environment = tree.command(epochs="30", rules="overfit")
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    ) as process:  # fmt: skip
        killed = None
        deadline = time.monotonic() + 100
        while killed is None and time.monotonic() < deadline:
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):  # it has ended by now
                    if "debugger.live" in child.cmdline():
                        child.kill()
                        killed = child.pid
            time.sleep(0.1)
        log, _ = process.communicate(timeout=200)

    assert killed is not None, log
    assert process.returncode == 0, log
    assert log.count("the process of the rules has died; training goes on") == 1
    assert tree.description["training"]["epochs_completed"] == 30


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("overfitt", "did you mean overfit?"),
        ('["overfit", {"name": "dead_relu", "unit": "neuron"}]', "one of channel, element"),
        ("overfit:action=explode", "one of warn, stop, stop_and_keep_best"),
    ],
)
def test_rules_that_cannot_be_are_refused_before_anything_starts(tree, rules, message):
    done = tree.train(rules=rules)

    assert done.returncode == 1
    assert tree.failure.startswith("hyperparameter: rules: ")
    assert message in tree.failure
