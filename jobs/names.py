"""Names of what the project has on the platform: its own name, a command's word, the time.

Everything is found again by its whole name: what another project's merely contains is not ours.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from jobs.project import Project

SEARCH, LONGEST = 32, 63
"""Most characters of a search's name, and of any other: API/CreateHyperParameterTuningJob."""
TIME = 12
TRIES = 3
"""Of a name: another start may have been first in the same second."""
TRIAL = r"-\d{3}-[0-9a-f]{8}"
"""What the platform puts behind a search's name for each of its jobs."""


def stem(project: Project, word: str) -> str:
    """All but the time. A name that is cut keeps apart from others that begin alike."""
    room = (SEARCH if word == "tune" else LONGEST) - len(f"-{word}-") - TIME
    name = project.name
    if len(name) > room:
        digest = hashlib.sha256(name.encode()).hexdigest()[:4]
        name = f"{name[: room - 5].rstrip('-')}-{digest}"
    return f"{name}-{word}-"


def new(project: Project, word: str) -> str:
    return stem(project, word) + time.strftime("%y%m%d%H%M%S", time.gmtime())


def made(project: Project, word: str, make: Callable[[str], Any]) -> str:
    """The new name that `make` was called with, the first that is not taken."""
    for left in reversed(range(TRIES)):
        name = new(project, word)
        try:
            make(name)
        except ClientError as error:
            if not left or not _taken(error.response.get("Error", {})):
                raise
            time.sleep(1)
        else:
            break
    return name


def _taken(said: dict[str, Any]) -> bool:
    return said.get("Code") == "ResourceInUse" or "already exist" in said.get("Message", "").lower()


KINDS = {
    "train": ("list_training_jobs", "TrainingJobSummaries", "TrainingJobName"),
    "tune": (
        "list_hyper_parameter_tuning_jobs", "HyperParameterTuningJobSummaries",
        "HyperParameterTuningJobName",
    ),
    "transform": ("list_transform_jobs", "TransformJobSummaries", "TransformJobName"),
    "model": ("list_models", "Models", "ModelName"),
    "config": ("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
}  # fmt: skip
"""Operation, where its answer has the summaries, and where a summary has the name."""


def found(
    client: Any, project: Project, word: str, kind: str = "", **asked: Any
) -> Iterator[dict[str, Any]]:
    """Summaries of the project's own things of that word, the newest first. `kind` where the word
    does not say it."""
    return _found(client, stem(project, word), "", kind or word, asked)


def trials(client: Any, project: Project, **asked: Any) -> Iterator[dict[str, Any]]:
    """Summaries of the training jobs of all its searches."""
    return _found(client, stem(project, "tune"), TRIAL, "train", asked)


def _found(
    client: Any, begin: str, end: str, kind: str, asked: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    operation, group, key = KINDS[kind]
    own = re.compile(rf"{re.escape(begin)}\d{{{TIME}}}{end}")
    pages = client.get_paginator(operation).paginate(
        NameContains=begin.strip("-"), SortBy="CreationTime", SortOrder="Descending", **asked
    )
    for page in pages:
        for each in page[group]:
            if own.fullmatch(each[key]):
                yield each
