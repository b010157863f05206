"""Names of tensors, ready collections, and requests that match nothing."""

import pytest
import torch
from torch import nn
from torchvision import models

from artifact import network as networks
from debugger.hook import names
from debugger.hook.plan import Plan
from debugger.hook.settings import COLLECTIONS, Collection
from train.loss import BCEWithLogitsLoss, CrossEntropyLoss

pytestmark = pytest.mark.filterwarnings("ignore")  # smdebug's own, on import
LOSS = CrossEntropyLoss()


def meta(name):
    with networks.WithoutWeights():
        return networks.build(name, 3).to("meta")


def plan(network, *collections):
    said = []
    return Plan(collections, network, LOSS, said.append), said


def test_patterns_are_smdebugs():
    from smdebug.pytorch.collection import CollectionManager

    manager = CollectionManager()
    for name in ("weights", "biases", "gradients", "losses"):
        assert manager.get(name).include_regex == list(names.PATTERNS[name])


@pytest.mark.parametrize(
    ("network", "some"),
    [
        ("resnet18", {"relu_output_0", "layer1.0.relu_output_0", "layer1.0.relu_output_1"}),
        ("small_cnn", {"2_output_0", "6_output_0"}),
        ("vgg11", {"features.1_output_0", "classifier.1_output_0"}),
        ("mobilenet_v2", {"features.0.2_output_0"}),
    ],
)
def test_relu_output_is_found_by_kind_of_layer(network, some):
    made = meta(network)

    patterns = names.ready("relu_output", made, LOSS)

    found = {each for each in names.possible(made, LOSS) if names.matches(patterns, each)}
    assert some <= found
    kinds = {name for module, name in names.modules(made).items() if isinstance(module, names.RELU)}
    assert {each.partition("_output")[0] for each in found} == kinds


def test_every_collection_without_a_pattern_has_a_ready_one():
    made = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Tanh(), nn.Sigmoid())

    assert all(names.ready(name, made, LOSS) for name in COLLECTIONS)


def test_labels_and_predictions_are_what_the_loss_is_given():
    made = meta("resnet18")

    assert names.matches(names.ready("labels", made, LOSS), "CrossEntropyLoss_input_1")
    several = BCEWithLogitsLoss(0.0, None)
    assert names.matches(names.ready("predictions", made, several), "BCEWithLogitsLoss_input_0")
    assert names.matches(names.ready("input_image", made, LOSS), "ResNet_input_0")
    assert names.matches(names.PATTERNS["losses"], "BCEWithLogitsLoss_output_0")


def test_the_default_pattern_of_a_platforms_rule_that_fits_no_torch_network_is_replaced():
    wish = Collection("input_image", (".*hybridsequential0_input_0",))

    made, said = plan(meta("resnet18"), wish)

    assert len(said) == 1
    assert "'.*hybridsequential0_input_0' matches no tensor; its ready pattern is taken" in said[0]
    assert [each.name for each in made.of("ResNet_input_0", tuple(made.collections))] == [
        "input_image"
    ]


def test_a_request_that_matches_nothing_is_named_with_what_is_near():
    made, said = plan(
        meta("resnet18"),
        Collection("mine", ("layer1.0.rleu_output",)),
        Collection("gradient_of_fc", (r"^gradient/ResNet_fc\.wieght",)),
        Collection("nameless"),
        Collection("tanh_input"),
    )

    assert "layer1.0.relu_output_0" in said[0]
    assert "gradient/ResNet_fc.weight" in said[1]
    assert "nameless: has no include_regex" in said[2]
    assert "tanh_input: matches no tensor" in said[3]
    assert made.unmatched == [line.removeprefix("debugger: ") for line in said]


def test_frozen_parameters_have_no_gradients_to_wait_for():
    made = meta("resnet18")
    made.requires_grad_(False)
    made.fc.requires_grad_(True)

    _, said = plan(made, Collection("deep", ("gradient/ResNet_layer1",)), Collection("gradients"))

    assert len(said) == 1
    assert "collection deep" in said[0]


def test_only_modules_that_something_is_wanted_of_are_listened_to():
    made = meta("resnet18")
    several, _ = plan(made, Collection("weights"), Collection("losses"), Collection("relu_input"))
    cheap = tuple(each for each in several.collections if each.name != "relu_input")

    assert not several.watched(cheap)
    assert {type(module) for module in several.watched(tuple(several.collections))} == {nn.ReLU}


def test_gradients_are_not_due_in_evaluation():
    made, _ = plan(meta("small_cnn"), Collection("gradients"), Collection("losses"))

    assert [each.name for each in made.due("EVAL", 0, 1, 1)] == ["losses"]
    assert [each.name for each in made.due("EVAL", 490, 20, 1)] == ["losses"]
    assert not made.due("EVAL", 501, 20, 1)
    assert len(made.due("TRAIN", 0, 1, 1)) == 2


def test_wrappers_are_seen_through():
    made = models.resnet18(num_classes=2)

    assert names.inner(nn.DataParallel(made)) is made
    assert names.inner(torch.compile(made, backend="eager")) is made
    assert names.inner(made) is made
