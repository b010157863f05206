"""Every rule fires on its own disease, soon enough, and on no healthy run."""

import json
import os
import subprocess
import sys

import pytest

from debugger.rules.asked import MODULES
from tests.gallery.cases import CASES, HEALTHY
from tests.tree import ROOT

SEEDS = 20 if os.environ.get("SOAK") else 3


@pytest.fixture(scope="module")
def said():
    """What all rules said of all runs; in a process of its own, for smdebug warns at import."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gallery", "--run", str(SEEDS)], cwd=ROOT,
        capture_output=True, text=True, timeout=SEEDS * 200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_rule_has_a_planted_disease():
    assert sorted(case.rule for case in CASES) == sorted(MODULES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_on_its_own_disease_in_time(said, case):
    mine = [each for each in said if each["run"] == case.run and each["rule"] == case.rule]

    assert len(mine) == SEEDS
    for each in mine:
        assert each["status"] == "IssuesFound", each
        assert case.at_end or each["first"] <= case.within, each


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
@pytest.mark.parametrize("run", HEALTHY)
def test_a_rule_is_silent_on_a_healthy_run(said, case, run):
    mine = [each for each in said if each["run"] == run and each["rule"] == case.rule]

    assert len(mine) == SEEDS
    for each in mine:
        assert each["status"] in ("NoIssuesFound", "NotApplicable"), each


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_is_judged_on_some_healthy_run(said, case):
    mine = {each["status"] for each in said if each["run"] in HEALTHY and each["rule"] == case.rule}

    assert "NoIssuesFound" in mine


def test_the_guilty_layer_is_named(said):
    [*mine] = [each for each in said if each["run"] == "poison" and each["rule"] == "nan_or_inf"]

    assert {each["details"]["guilty"] for each in mine} == {"block2.scale_output_0"}
