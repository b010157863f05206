"""The README's tables are the code's."""

import pytest

from container.failure import CLASSES
from serve import payload
from tests import readme


@pytest.mark.parametrize("name", readme.TABLES)
def test_a_table_is_what_the_code_says(name):
    found = readme.pattern(name).search(readme.README.read_text(encoding="utf-8"))

    assert found, f"README.md has no table marked {name}"
    expected = f"<!-- {name} -->\n{readme.TABLES[name]()}\n<!-- end -->"
    assert found[0] == expected, "write the tables anew with: python -m tests.readme"


def test_every_content_type_is_described():
    assert set(readme.BODIES) == set(payload.ACCEPTED)


def test_every_class_of_failure_is_in_the_table():
    assert all(f"| `{kind.name}` |" in readme.failures() for kind in CLASSES)


def test_the_readme_has_commands():
    assert "make demo" in readme.commands()
    assert "make test" in readme.commands()
