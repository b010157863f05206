"""What a request for rules may look like, and what it needs saved."""

import pytest

from debugger.rules import collections_needed, regexes_needed
from debugger.rules.asked import MODULES, Asked, RuleRequestError, class_of, parse


@pytest.mark.parametrize(
    ("text", "made"),
    [
        pytest.param("", [], id="none"),
        pytest.param("overfit", [Asked("overfit")], id="one"),
        pytest.param("Overfit, DeadRelu", [Asked("overfit"), Asked("dead_relu")], id="platform's"),
        pytest.param("stalled_training", [Asked("stalled_training_rule")], id="short"),
        pytest.param(
            "overfit:patience=2:action=stop", [Asked("overfit", {"patience": "2"}, "stop")],
            id="compact",
        ),
        pytest.param(
            '["all_zero", {"name": "overfit", "patience": 2, "action": "stop_and_keep_best"}]',
            [Asked("all_zero"), Asked("overfit", {"patience": 2}, "stop_and_keep_best")],
            id="JSON",
        ),
        pytest.param('"overfit"', [Asked("overfit")], id="JSON in JSON"),
        pytest.param(
            "/opt/ml/code/mine.py:Mine:limit=3",
            [Asked("/opt/ml/code/mine.py:Mine", {"limit": "3"})], id="a file of the user's",
        ),
        pytest.param(
            "StalledTrainingRule:stop_training_on_fire=True",
            [Asked("stalled_training_rule", {"stop_training_on_fire": "True"}, "stop")],
            id="the platform's own way to stop",
        ),
    ],
)  # fmt: skip
def test_a_request_is_read(text, made):
    assert parse(text) == made


def test_all_is_all_and_one_of_them_may_be_changed_and_the_action_be_another():
    made = parse("all,overfit:patience=3", action="stop")

    assert [each.name for each in made] == list(MODULES)
    assert {each.action for each in made} == {"stop"}
    assert [each.parameters for each in made if each.name == "overfit"] == [{"patience": "3"}]


def test_all_mistakes_come_at_once():
    with pytest.raises(RuleRequestError) as refused:
        parse('["overfitt", {"name": "dead_relu", "threshold": 1}, {"patience": 2}, 7]')

    for words in ("did you mean overfit?", "threshold: no such", "no `name`", "7: expected"):
        assert words in str(refused.value)


def test_every_rule_has_a_module_a_class_of_its_name_and_an_explanation():
    for name in MODULES:
        made = class_of(name)
        assert made.name == name
        assert made.summary


def test_what_rules_need_is_saved_and_for_all_of_them_what_is_small():
    assert collections_needed(parse("overfit,vanishing_gradient")) == ["losses", "gradients"]
    assert collections_needed(parse("all_zero:collection_names=biases")) == ["gradients", "biases"]
    assert regexes_needed(parse("dead_relu:tensor_regex=^2_output"))[-1] == "^2_output"
    assert regexes_needed(parse(["all", {"name": "confusion", "labels": "mine"}])) == ["mine"]
    assert regexes_needed(parse("all")) == []
    small = {"losses", "weights", "gradients", "labels", "predictions"}
    assert set(collections_needed(parse("all"))) == small
    assert set(collections_needed(parse("all,dead_relu"))) == small | {"relu_output"}
    assert "relu_output" in collections_needed(parse(list(MODULES)))
    assert collections_needed([]) == []


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        pytest.param(
            {"name": "dead_relu", "tensor_regex": "*relu"}, "nothing to repeat", id="regex"
        ),
        pytest.param({"name": "confusion", "labels": "("}, "a regular expression", id="labels"),
        pytest.param({"name": "vanishing_gradient", "threshold": "nan"}, "a number", id="nan"),
    ],
)
def test_a_parameter_that_no_step_could_be_judged_by_is_refused(request_, message):
    with pytest.raises(RuleRequestError, match=message):
        parse([request_])
