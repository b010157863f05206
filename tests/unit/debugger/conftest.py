"""Tensors in a folder, and a rule's verdict on them."""

import pytest

from debugger import evidence, tensors, walk
from debugger.rules.asked import Asked
from tests.saved import Saved, quietly


@pytest.fixture
def saved(tmp_path):
    return Saved(tmp_path / "tensors")


@pytest.fixture
def judged(saved):
    """judged("rule", parameter=...) -> its verdict on what `saved` has."""

    def judge(rule, known=None, **parameters):
        known = known or evidence.Evidence()
        with quietly():
            trial = tensors.Tensors(saved.folder)
            [verdict] = walk.run(trial, [Asked(rule, parameters)], known)
        return verdict

    return judge
