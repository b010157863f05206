"""Every encoding of a value means the same; every mistake is named at once."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from container.failure import HyperparameterError
from train.hyperparameters import FIELDS, Hyperparameters, parse


def encodings(value: object) -> list[object]:
    """Raw, JSON, and twice-encoded, as clients of different versions send a value."""
    plain = value if isinstance(value, str) else json.dumps(value)
    return [value, plain, json.dumps(plain), json.dumps(json.dumps(plain))]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "resnet18"),
        ("pretrained", False),
        ("epochs", 7),
        ("learning_rate", 1.2e-05),
        ("hidden_units", [512, 256]),
        ("optimizer", "sgd"),
    ],
)
def test_a_value_is_read_alike_in_every_encoding(name, value):
    read = [getattr(parse({name: text})[0], name) for text in encodings(value)]

    assert read == [value] * 4


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "yes", True, 1, '"True"'])
def test_true_is_true_in_any_spelling(text):
    assert parse({"pretrained": text})[0].pretrained is True


@pytest.mark.parametrize("text", ["false", "False", "0", "no", False, 0, '"false"'])
def test_false_is_false_in_any_spelling(text):
    assert parse({"pretrained": text})[0].pretrained is False


@pytest.mark.parametrize(
    ("given_name", "name", "text", "value"),
    [
        ("lr", "learning_rate", "0.01", 0.01),
        ("learning-rate", "learning_rate", "0.01", 0.01),
        ("batch-size", "batch_size", "64", 64),
        ("mini_batch_size", "batch_size", "64", 64),
        ("eps", "epsilon", "1e-09", 1e-9),
        ("test-batch-size", "evaluation_batch_size", "100", 100),
        ("epochs", "epochs", "10.0", 10),
        ("hidden_units", "hidden_units", "512, 256", [512, 256]),
        ("hidden_units", "hidden_units", "128", [128]),
        ("hidden_units", "hidden_units", "[]", []),
        (
            "debug_collections",
            "debug_collections",
            "weights, relu_output",
            ["weights", "relu_output"],
        ),
        ("debug_collections", "debug_collections", '["Gradients"]', ["gradients"]),
        ("debug-reductions", "debug_reductions", "abs_mean", ["abs_mean"]),
        ("debug_include_regex", "debug_include_regex", "^ResNet_fc,relu", ["^ResNet_fc", "relu"]),
        (
            "debug_include_regex",
            "debug_include_regex",
            '["a{1,2}", "[Ll]oss"]',
            ["a{1,2}", "[Ll]oss"],
        ),
        ("debug_include_regex", "debug_include_regex", "[Ll]oss_output", ["[Ll]oss_output"]),
    ],
)
def test_other_names_and_notations_are_accepted(given_name, name, text, value):
    assert getattr(parse({given_name: text})[0], name) == value


def test_names_of_the_platform_pass_unread():
    parsed, warnings = parse(
        {
            "_tuning_objective_metric": "validation_loss",
            "sagemaker_program": '"train.py"',
            "sagemaker_estimator_class_name": '"Estimator"',
        }
    )

    assert parsed == Hyperparameters()
    assert warnings == []


def test_all_mistakes_come_at_once_with_what_would_work():
    with pytest.raises(HyperparameterError) as caught:
        parse({"learning_rate": "fast", "optmizer": "sgd", "epochs": "0", "optimizer": "adm"})

    text = str(caught.value)
    assert "learning_rate='fast': expected a number above 0" in text
    assert "optmizer: unknown hyperparameter; did you mean optimizer?" in text
    assert "epochs='0': expected a whole number from 1" in text
    assert "did you mean adam?" in text


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param({"lr": "0.1", "learning_rate": "0.2"}, "give one of them", id="two names"),
        pytest.param({"epochs": "2", "warmup_epochs": "3"}, "at most epochs=2", id="warm-up"),
        pytest.param({"epochs": "1.5"}, "whole number", id="half an epoch"),
        pytest.param({"learning_rate": "nan"}, "a number", id="nan"),
        pytest.param({"learning_rate": "inf"}, "a number", id="infinite"),
        pytest.param({"learning_rate": "true"}, "a number", id="boolean number"),
        pytest.param({"hidden_units": "[" * 2000}, "like [512, 256]", id="endless list"),
        pytest.param({"hidden_units": "[512, -1]"}, "like [512, 256]", id="negative units"),
        pytest.param({"pretrained": "maybe"}, "true or false", id="boolean"),
        pytest.param({"debug_collections": "weigths"}, "did you mean weights?", id="collection"),
        pytest.param({"debug_reductions": "[1]"}, "a list of names out of", id="a number's name"),
        pytest.param({"debug_include_regex": "(fc"}, "'(fc': missing )", id="regular expression"),
        pytest.param({"network": ""}, "a name", id="empty"),
        pytest.param({"epochs": "1e400"}, "whole number", id="overflow"),
        pytest.param({"epochs": None}, "whole number", id="null"),
        pytest.param({"epochs": {"a": 1}}, "whole number", id="object"),
    ],
)
def test_a_bad_value_is_refused(raw, message):
    with pytest.raises(HyperparameterError, match="mistake") as caught:
        parse(raw)

    assert message in str(caught.value)


def test_strict_false_only_warns_of_unknown_names():
    parsed, warnings = parse({"strict": "false", "optmizer": "sgd"})

    assert parsed.optimizer == "adamw"
    assert "did you mean optimizer" in warnings[0]


SCALARS = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


# the first draw makes its tables
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from([*FIELDS, "lr", "other"]), JSON, max_size=5))
def test_any_json_either_parses_or_is_refused_with_a_reason(raw):
    try:
        outcome = parse(raw)[0]
    except HyperparameterError as error:
        outcome = error

    assert isinstance(outcome, Hyperparameters) or outcome.details


@settings(deadline=None)
@given(st.floats(min_value=1e-12, max_value=100, exclude_min=True))
def test_any_learning_rate_survives_every_encoding(value):
    read = {parse({"lr": text})[0].learning_rate for text in encodings(value)}

    assert read == {value}


def test_every_default_is_legal_and_justified():
    for name, item in FIELDS.items():
        default = Hyperparameters().as_written()[name]

        assert parse({name: json.dumps(default)})[0].as_written()[name] == default
        assert item.metadata["meaning"]
        assert item.metadata["why"]
