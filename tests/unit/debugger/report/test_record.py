"""`profiler-report.json` keeps its promise, and both files come whole or not at all."""

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from debugger.profiler.measured import Measured, Operator
from debugger.report import write
from debugger.report.material import gather
from debugger.report.page import page
from debugger.report.record import VERSION, record
from debugger.verdict import Status, Verdict
from tests import diagnosis, readme

SCHEMA = json.loads(readme.SCHEMA.read_text())


def materials(tmp_path):
    one = diagnosis.steps(1)
    odd = diagnosis.steps(40)
    odd.seconds[3:6] = [np.nan, np.inf, 0]
    details = {"loss": [float("nan"), np.float32(2), float("inf")], 3: {"a"}}
    broken = Verdict(rule="mine", status=Status.ISSUES_FOUND, reason="odd", details=details)
    return {
        "nothing": gather(job="", verdicts=[]),
        "a job": gather(
            job="dogs", verdicts=diagnosis.verdicts(), measured=diagnosis.job(),
            metrics=diagnosis.metrics(), environment={"processors": 4},
        ),
        "one step": gather(job="a", verdicts=[], measured=Measured(steps=[one])),
        "numbers that are none": gather(
            job="b", verdicts=[broken],
            measured=Measured(
                series=[replace(diagnosis.machine()[0], values=np.full(1200, np.nan))], steps=[odd],
                operators=[Operator("aten::add", "operator", 1, float("nan"), float("nan"))],
            ),
        ),
        "names": gather(
            job=diagnosis.EVIL, verdicts=[replace(broken, rule=diagnosis.EVIL)],
            environment={diagnosis.EVIL: diagnosis.EVIL},
        ),
    }  # fmt: skip


@pytest.mark.parametrize(
    "which", ["nothing", "a job", "one step", "numbers that are none", "names"]
)
def test_the_record_follows_its_schema(tmp_path, which):
    material = materials(tmp_path)[which]

    write.write(tmp_path / "deep" / "er", material)

    text = (tmp_path / "deep" / "er" / write.RECORD).read_text()
    written = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    jsonschema.validate(written, SCHEMA, jsonschema.Draft202012Validator)
    assert written["version"] == VERSION == SCHEMA["properties"]["version"]["const"]
    assert [each["rule"] for each in written["verdicts"]] == [
        each.rule.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")
        for each in material.verdicts
    ]


def test_the_schema_refuses_what_it_does_not_know(tmp_path):
    made = record(materials(tmp_path)["a job"])

    for wrong in ({**made, "verdict": []}, {**made, "version": 2},
                  {**made, "verdicts": [{**made["verdicts"][0], "status": "Fine"}]}):  # fmt: skip
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)


def test_the_numbers_of_the_record_are_those_of_the_job(tmp_path):
    made = record(materials(tmp_path)["a job"])

    assert made["summary"]["rules"] == {
        "IssuesFound": 2, "NoIssuesFound": 3, "NotApplicable": 4, "Error": 1,
    }  # fmt: skip
    (steps,) = made["steps"]
    assert steps["count"] == 600
    seconds = diagnosis.steps().seconds[1:]
    assert steps["seconds"]["step"]["p95"] == pytest.approx(np.percentile(seconds, 95))
    assert sum(row["share"] for name, row in steps["seconds"].items()
               if name != "step") == pytest.approx(1, abs=1e-6)  # fmt: skip
    processors = next(row for row in made["system"] if row["name"] == "CPUUtilization")
    assert processors["parts"] == 4
    assert processors["points"] == 4800
    assert [row["epoch"] for row in made["metrics"]] == [1, 2, 3, 4, 5, 6]


def test_files_come_whole_or_not_at_all(tmp_path):
    (tmp_path / write.PAGE).mkdir()
    (tmp_path / write.PAGE / "in the way").touch()
    (tmp_path / write.RECORD).write_text("earlier")

    with pytest.raises(OSError, match="directory"):
        write.write(tmp_path, materials(tmp_path)["a job"])

    names = {path.name for path in tmp_path.iterdir()}
    assert names == {write.PAGE, write.RECORD}
    assert (tmp_path / write.RECORD).read_text() == "earlier"


def test_a_second_report_takes_the_place_of_the_first(tmp_path):
    write.write(tmp_path, materials(tmp_path)["nothing"])

    path = write.write(tmp_path, materials(tmp_path)["a job"])

    assert path.read_text() == page(materials(tmp_path)["a job"])
    assert json.loads((tmp_path / write.RECORD).read_text())["job"] == "dogs"
