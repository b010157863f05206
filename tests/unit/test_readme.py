"""The guide's tables are the code's, and its links lead somewhere."""

import re

import pytest

from container.failure import CLASSES
from serve import payload
from tests import readme


@pytest.mark.parametrize("name", readme.TABLES)
def test_a_table_is_what_the_code_says(name):
    found = readme.pattern(name).search(readme.text())

    assert found, f"no page has a table marked {name}"
    expected = f"<!-- {name} -->\n{readme.TABLES[name]()}\n<!-- end -->"
    assert found[0] == expected, "write the tables anew with: python -m tests.readme"


def test_every_content_type_is_described():
    assert set(readme.BODIES) == set(payload.ACCEPTED)


def test_every_class_of_failure_is_in_the_table():
    assert all(f"| `{kind.name}` |" in readme.failures() for kind in CLASSES)


def test_the_readme_has_commands():
    assert "make demo" in readme.commands()
    assert "make test" in readme.commands()


def test_every_page_is_named_in_the_readme():
    home, *others = readme.PAGES
    named = {target for page, _, target in readme.links() if page == home}

    assert {f"docs/{page.name}" for page in others} <= named
    assert {page.name for page in others} == {
        path.name for path in (readme.ROOT / "docs").glob("*.md")
    }


def test_every_link_leads_to_a_file_and_the_test_it_names():
    wrong = []
    for page, words, target in readme.links():
        if target.startswith("https://"):
            continue
        path = (page.parent / target.partition("#")[0]).resolve()
        name = words.strip("`")
        if not path.is_file() or not path.is_relative_to(readme.ROOT):
            wrong.append(f"{page.name}: {target}")
        elif name.startswith("test_") and f"def {name}(" not in path.read_text(encoding="utf-8"):
            wrong.append(f"{page.name}: {target} has no {name}")
    assert not wrong


def test_every_path_that_the_guide_names_is_there():
    named = set(re.findall(
        r"`((?:local_test|benchmarks|tests|jobs|docs|container|doctor|describe)/[\w./-]+)`",
        readme.text(),
    ))  # fmt: skip
    missing = [name for name in sorted(named) if not (readme.ROOT / name).exists()]
    assert not missing
