"""What the hook is asked for: the platform's JSON beside smdebug's own reading of it."""

import json
import warnings

import pytest

from debugger.hook import settings as wishes
from debugger.hook.files import Files
from debugger.hook.settings import MODES, Keep, Reduction, SettingsError, When, asked, read
from debugger.rules.asked import parse
from tests import debugged

pytestmark = pytest.mark.filterwarnings("ignore")  # smdebug's own, in its thread


@pytest.fixture
def config(tmp_path):
    def write(value):
        path = tmp_path / "debughookconfig.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return write


def understood(path, tmp_path):
    return read(path, tmp_path / "tensors", tmp_path / "tensorboard")


RELU = {
    "CollectionName": "relu_output",
    "CollectionParameters": {"include_regex": ".*relu_output", "save_interval": "500"},
}
CASES = [
    pytest.param({"CollectionConfigurations": [RELU]}, id="a collection"),
    pytest.param(
        {"HookParameters": {"save_interval": "100", "eval.save_interval": "1"},
         "CollectionConfigurations": [
             {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "500"}},
             {"CollectionName": "weights", "CollectionParameters": {"train.start_step": "3"}},
         ]},
        id="modes and their defaults",
    ),
    pytest.param(
        {"HookParameters": {"reductions": "mean,abs_max,l1_norm", "start_step": 2, "end_step": "9"},
         "CollectionConfigurations": [
             {"CollectionName": "biases", "CollectionParameters": {"reductions": "abs_l2_norm"}},
             {"CollectionName": "weights", "CollectionParameters": None},
             {"CollectionName": "losses"},
         ]},
        id="reductions",
    ),
    pytest.param(
        {"HookParameters": {"include_regex": "conv,fc", "save_all": "True"}}, id="everything"
    ),
    pytest.param({"HookParameters": None, "CollectionConfigurations": None}, id="null blocks"),
]  # fmt: skip


@pytest.mark.parametrize("given", CASES)
def test_a_configuration_means_what_it_means_to_smdebug(config, tmp_path, given):
    path = config({"S3OutputPath": "s3://bucket/prefix", "LocalPath": str(tmp_path / "a"), **given})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import smdebug.pytorch as smd
    theirs = smd.Hook.create_from_json_file(str(path))
    theirs._prepare_collections()

    ours = understood(path, tmp_path)
    made = [
        wishes.Collection(each.name, each.patterns or ("x",), each.when, each.keep, each.histogram)
        for each in ours.collections
    ]
    files = Files(ours, made, resumed=False, first=True)

    assert str(ours.tensors) == theirs.out_dir
    saved = {each.name for each in ours.collections}
    assert saved <= {each.name for each in theirs._collections_to_save}
    for name in saved:
        one = files._hook.collection_manager.get(name).to_json_dict()
        other = theirs.collection_manager.get(name).to_json_dict()
        for key in ("save_config", "reduction_config", "save_histogram"):
            assert one[key] == other[key], (name, key)
        named = next(each.patterns for each in ours.collections if each.name == name)
        assert not named or set(other["include_regex"]) == set(named)


def test_strings_are_accepted_where_smdebug_wants_booleans(config, tmp_path):
    given = {"reductions": "mean", "save_raw_tensor": "True", "save_shape": "true"}
    path = config({"CollectionConfigurations": [
        {"CollectionName": "weights", "CollectionParameters": given}]})  # fmt: skip

    weights = understood(path, tmp_path).collections[0]

    assert weights.keep == Keep(True, True, (Reduction("mean", False),))


def test_losses_are_whole_and_always_there(config, tmp_path):
    weights = {"CollectionName": "weights", "CollectionParameters": {"save_interval": "7"}}
    path = config({"HookParameters": {"reductions": "mean"}, "CollectionConfigurations": [weights]})

    weights, losses = understood(path, tmp_path).collections

    assert (losses.name, losses.keep) == ("losses", Keep())
    assert losses.when["TRAIN"].interval == 500
    assert weights.when["EVAL"].interval == 7


def test_listed_steps_win_over_the_interval():
    when = When(interval=2, steps=(0, 3, 7, 8))

    assert debugged.steps_saved(when, 12) == [0, 3, 7, 8]
    assert debugged.steps_saved(when, 12, widening=2) == [0, 7]


def test_an_interval_counts_within_its_range_and_widens():
    when = When(interval=2, start=3, end=9)

    assert debugged.steps_saved(when, 20) == [4, 6, 8]
    assert debugged.steps_saved(when, 20, widening=2) == [4, 8]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param("{", "cannot be read", id="no JSON"),
        pytest.param("[]", "expected an object", id="a list"),
        pytest.param({"HookParameters": {"save_interval": "0"}}, "from 1", id="no interval"),
        pytest.param({"HookParameters": {"save_steps": "1,x"}}, "save_steps='x'", id="no step"),
        pytest.param({"HookParameters": {"reductions": "men"}}, "reduction 'men'", id="reduction"),
        pytest.param({"HookParameters": {"include_regex": "("}}, "include_regex", id="pattern"),
        pytest.param({"HookParameters": {"include_workers": "two"}}, "one or all", id="workers"),
        pytest.param({"HookParameters": {"save_all": "maybe"}}, "true or false", id="boolean"),
        pytest.param({"CollectionConfigurations": [{}]}, "no CollectionName", id="nameless"),
        pytest.param({"CollectionConfigurations": {}}, "expected a list", id="no list"),
        pytest.param({"LocalPath": 5}, "LocalPath=5: expected the name", id="no folder"),
        pytest.param(
            {"HookParameters": {"tensorboard_dir": ["x"]}},
            "expected the name",
            id="no folder of TB",
        ),
        pytest.param('{"HookParameters": {"end_step": 1e999}}', "end_step=inf", id="infinity"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_value(config, tmp_path, given, message):
    with pytest.raises(SettingsError) as caught:
        understood(config(given), tmp_path)

    assert message in str(caught.value)


def test_hyperparameters_ask_for_nothing_by_default(tmp_path):
    nothing = {"interval": 0, "eval_interval": 1, "collections": [], "reductions": [],
               "patterns": [], "histograms": False}  # fmt: skip

    assert asked(tmp_path, tmp_path, **nothing) is None
    usual = asked(tmp_path, tmp_path, **{**nothing, "interval": 5})
    assert [each.name for each in usual.collections] == list(wishes.USUAL)
    assert usual.collections[0].when["TRAIN"].interval == 5
    assert usual.collections[0].when["EVAL"].interval == 1
    own = asked(tmp_path, tmp_path, **{**nothing, "patterns": ["fc"], "reductions": ["abs_mean"]})
    assert [each.name for each in own.collections] == ["default", "losses"]
    assert own.collections[0].keep == Keep(False, False, (Reduction("mean", True),))
    assert own.collections[1].keep == Keep()
    assert {own.collections[0].when[mode].interval for mode in MODES} == {500, 1}


def test_rules_have_what_they_need_beside_the_platforms_file(config, tmp_path):
    """As the platform's SDK writes it for jobs that ask for nothing."""
    rules = parse(["vanishing_gradient", {"name": "all_zero", "tensor_regex": "fc"}])
    nothing = {"S3OutputPath": "s3://b/p", "HookParameters": None, "CollectionConfigurations": None}

    made = read(config(nothing), tmp_path, tmp_path, rules=rules).collections

    found = {each.name: each for each in made}
    assert set(found) == {"gradients", "rules", "losses"}
    assert found["rules"].patterns == ("fc",)
    assert found["gradients"].when["TRAIN"].interval == wishes.RULES_INTERVAL
    assert found["losses"].when["TRAIN"].interval == wishes.INTERVAL


def test_what_the_platforms_file_says_counts_for_rules_too(config, tmp_path):
    gradients = {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "7"}}
    given = {"HookParameters": {"save_interval": "3"}, "CollectionConfigurations": [gradients]}
    rules = parse("vanishing_gradient,weight_update_ratio")

    made = read(config(given), tmp_path, tmp_path, rules=rules).collections

    assert {each.name: each.when["TRAIN"].interval for each in made} == {
        "gradients": 7, "weights": 3, "losses": 3
    }  # fmt: skip
