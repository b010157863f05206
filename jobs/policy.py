"""What the caller of each command must be allowed, from policies/*.json, for one project."""

import json
from pathlib import Path
from typing import Any

from jobs import names
from jobs.aws import split
from jobs.project import Project

FOLDER = Path(__file__).with_name("policies")
COMMANDS = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def of(command: str, project: Project, region: str = "") -> dict[str, Any]:
    """The policy with the project's account, region, bucket and role. Where no region is known it
    holds for all."""
    _, partition, _, _, account, _ = project.role.split(":", 5)
    bucket, prefix = split(project.prefix)
    filled = {
        "arn:aws:": f"arn:{partition}:",
        "BUCKET/PREFIX": f"{bucket}/{prefix}".rstrip("/"),
        "BUCKET": bucket,
        "REGION": project.region or region or "*",
        "ACCOUNT": account,
        "NAME": project.name,
        "SEARCH": names.stem(project, "tune"),
        "ROLE": project.role,
    }
    made = json.loads((FOLDER / f"{command}.json").read_text(encoding="utf-8"))
    for statement in made["Statement"]:
        statement["Resource"] = [_filled(each, filled) for each in statement["Resource"]]
    return dict(made)


def _filled(resource: str, values: dict[str, str]) -> str:
    if resource in values:  # a role's name may hold any of the other words
        return values[resource]
    for word, value in values.items():
        if word in resource:
            head, tail = resource.split(word, 1)
            return f"{_filled(head, values)}{value}{_filled(tail, values)}"
    return resource
