"""Hyperparameters and the platform's profilerconfig.json, as they come from both."""

import json
import os
from pathlib import Path

import pytest

from debugger.profiler import settings
from debugger.profiler.settings import Trace, Watched, from_hyperparameters, under_platform

FOLDER, LOCAL = Path("/out/data/profiler"), Path("/out/profiler")


def read(tmp_path, told, profile="system"):
    config = tmp_path / "profilerconfig.json"
    config.write_text(told if isinstance(told, str) else json.dumps(told))
    return under_platform(from_hyperparameters(profile, 500, FOLDER), config, LOCAL)


def parameters(**told):
    return {"ProfilingParameters": told}


@pytest.mark.parametrize(
    ("profile", "enabled", "trace"),
    [
        ("off", False, None),
        ("system", True, None),
        ("steps:100-110", True, Trace(first=100, steps=11)),
        ("steps:0-0", True, Trace(first=0, steps=1)),
    ],
)
def test_a_hyperparameter_says_what_is_measured(profile, enabled, trace):
    found = from_hyperparameters(profile, 200, FOLDER)

    assert (found.enabled, found.trace, found.interval_seconds) == (enabled, trace, 0.2)


@pytest.mark.parametrize(
    "profile", ["", "on", "steps", "steps:", "steps:5", "steps:9-5", "steps:-1-2", "steps:0-50",
                "steps:a-b", "steps:1-2-3", "steps:" + "9" * 50 + "-" + "9" * 50],
)  # fmt: skip
def test_a_profile_that_is_none_is_refused_with_what_works(profile):
    with pytest.raises(ValueError, match="steps:100-110"):
        from_hyperparameters(profile, 500, FOLDER)


def test_without_the_platforms_file_the_hyperparameters_stand(tmp_path):
    base = from_hyperparameters("system", 200, FOLDER)

    assert under_platform(base, tmp_path / "none.json", LOCAL) == base


def test_the_platforms_file_stands_above_the_hyperparameters(tmp_path):
    found = read(tmp_path, {
        "S3OutputPath": "s3://a/b", "ProfilingIntervalInMilliseconds": 100,
        "DisableProfiler": False,
        "ProfilingParameters": {
            "LocalPath": "/mine/Here", "RotateMaxFileSizeInBytes": "1024",
            "RotateFileCloseIntervalInSeconds": "5", "FileOpenFailThreshold": "3",
            "DetailedProfilingConfig": "{\"StartStep\": 5, \"NumSteps\": 3}",
        },
    })  # fmt: skip

    assert found.folder == Path("/mine/Here")
    assert found.interval_seconds == 0.1
    assert (found.rotate_bytes, found.rotate_seconds, found.open_failures) == (1024, 5, 3)
    assert found.trace == Trace(first=5, steps=3)
    assert found.notes == ()


def test_a_file_that_says_little_leaves_the_platforms_defaults(tmp_path):
    found = read(tmp_path, {"S3OutputPath": "s3://a/b"})

    assert found.enabled
    assert found.folder == LOCAL
    assert (found.interval_seconds, found.rotate_bytes) == (0.5, 10_485_760)
    assert found.rotate_seconds == 60


def test_a_whole_text_in_lower_case_is_read_as_well(tmp_path):
    literal = "{'StartStep': '7', 'NumSteps': '2', 'DefaultProfiling': True}"
    told = {"ProfilingIntervalInMilliseconds": 200, **parameters(PythonProfilingConfig=literal)}

    found = read(tmp_path, json.dumps(told).lower())

    assert found.interval_seconds == 0.2
    assert found.trace == Trace(first=7, steps=2)


@pytest.mark.parametrize("value", [True, "true", "True"])
def test_the_platform_turns_the_profiler_off(tmp_path, value):
    found = read(tmp_path, {"DisableProfiler": value}, "steps:1-2")

    assert not found.enabled
    assert found.trace is None
    assert "DisableProfiler" in found.notes[0]


def test_off_stays_off_whatever_the_platform_says(tmp_path):
    assert not read(tmp_path, {"DisableProfiler": False}, "off").enabled


@pytest.mark.parametrize(
    ("text", "trace"),
    [
        ("{}", None),
        ("{'StartStep': 5}", Trace(first=5, steps=1)),
        ("{'NumSteps': 4}", Trace(first=None, steps=4)),
        ("{'NumSteps': 4000}", Trace(first=None, steps=settings.MOST_TRACED_STEPS)),
        ("{'StartTimeInSecSinceEpoch': 1.5, 'DurationInSeconds': 3}",
         Trace(starts=1.5, seconds=3.0)),
        ('{"startstep": 5}', Trace(first=5, steps=1)),
    ],
)  # fmt: skip
def test_a_range_is_read_from_its_literal(tmp_path, text, trace):
    assert read(tmp_path, parameters(DetailedProfilingConfig=text)).trace == trace


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch pwned')",
        "{'StartStep': __import__('os').getpid()}",
        "[1, 2]",
        "{'StartStep': 'soon'}",
        "{'StartStep': 1, 'DurationInSeconds': 3}",
        "{" * 2000,
        "{'StartStep': 1}" + " " * 5000,
        "{'StartStep': 1e999}",
    ],
    ids=["code", "code in a dict", "a list", "a word", "both", "nested", "long", "endless"],
)
def test_what_is_no_literal_is_never_run_and_said(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)

    found = read(tmp_path, parameters(PythonProfilingConfig=text), "steps:3-4")

    assert found.trace == Trace(first=3, steps=2)
    assert "pythonprofilingconfig is not read" in found.notes[0]
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "nan", "[" * 100_000])
def test_a_file_that_is_no_object_changes_nothing_and_is_said(tmp_path, text):
    found = read(tmp_path, text)

    assert found.enabled
    assert found.folder == FOLDER
    assert "profilerconfig.json" in found.notes[0]


def test_a_number_out_of_range_has_its_default_and_is_said(tmp_path):
    found = read(tmp_path, {"ProfilingIntervalInMilliseconds": "1",
                            **parameters(RotateMaxFileSizeInBytes="many")})  # fmt: skip

    assert (found.interval_seconds, found.rotate_bytes) == (0.5, 10_485_760)
    assert len(found.notes) == 2


def test_a_file_that_changes_is_read_again_and_only_then(tmp_path):
    config = tmp_path / "profilerconfig.json"
    watched = Watched(from_hyperparameters("system", 500, FOLDER), config, LOCAL)
    before = watched.changed()
    config.write_text(json.dumps({"ProfilingIntervalInMilliseconds": 1000}))
    appeared = watched.changed()
    again = watched.changed()
    os.utime(config, (1, 1))
    touched = watched.changed()
    config.write_text(json.dumps({"DisableProfiler": True}))
    disabled = watched.changed()

    assert [before, appeared, again, touched, disabled] == [False, True, False, False, True]
    assert watched.now.interval_seconds == 0.5
    assert not watched.now.enabled


@pytest.mark.parametrize("path", [5, "/a\0b", ["/x"]])
def test_a_folder_that_can_be_none_is_said(tmp_path, path):
    found = read(tmp_path, parameters(LocalPath=path))

    assert found.folder == LOCAL
    assert "localpath" in found.notes[0]
