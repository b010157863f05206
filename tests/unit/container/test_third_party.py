"""THIRD_PARTY.md and the lock name the same packages and versions."""

import re
from pathlib import Path

from container.requirements import third_party

TABLE = Path(__file__).resolve().parents[3] / "THIRD_PARTY.md"
ROW = re.compile(r"^\| (?P<name>[\w.-]+) \| (?P<version>[\w.+!-]+) \| (?P<licence>.+) \|$")


def rows() -> list[re.Match[str]]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return [match for line in lines if (match := ROW.match(line)) and match["name"] != "package"]


def test_table_and_lock_agree():
    listed = {row["name"]: row["version"] for row in rows()}

    assert listed == {pin.name: pin.version for pin in third_party.in_image()}


def test_every_package_has_a_licence():
    assert [row["name"] for row in rows() if row["licence"] == third_party.NOT_STATED] == []


def test_terms_of_imagenet_weights_are_stated():
    assert "ImageNet" in TABLE.read_text(encoding="utf-8")
