"""What the hook saves of real small runs, read back by smdebug, and that it changes nothing."""

import gc
import json

import numpy as np
import pytest
import torch
from torch import nn

from tests import debugged, events
from tests.debugged import made, modes, photos, train, trial

pytestmark = pytest.mark.filterwarnings("ignore")  # smdebug's own, in its thread
EVERYTHING = ("weights", "biases", "gradients", "losses", "relu_input", "relu_output",
              "input_image", "labels", "predictions")  # fmt: skip


@pytest.fixture
def said():
    yield []
    gc.collect()  # smdebug's writers complain as they go, which is not another test's fault


def nothing(tmp_path):
    return debugged.hook(tmp_path, None, [])


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def half():
    return torch.autocast("cpu", torch.bfloat16)


def frozen(network):
    network.requires_grad_(False)
    network.fc.requires_grad_(True)
    return network


def in_channels_last(network):
    return network.to(memory_format=torch.channels_last)


KINDS = [
    pytest.param(made, {}, id="plain"),
    pytest.param(lambda: frozen(made()), {}, id="frozen backbone"),
    pytest.param(lambda: in_channels_last(made()), {}, id="channels last"),
    pytest.param(made, {"autocast": half}, id="bfloat16"),
    pytest.param(lambda: made().eval(), {}, id="evaluation mode"),
]


def run(folder, build, wished, said, autocast=None, **more):
    network = build()
    more = {**more, "autocast": autocast()} if autocast else more
    return train(network, debugged.hook(folder, wished, said), **more)


@pytest.mark.parametrize(("build", "more"), KINDS)
def test_a_run_ends_in_the_same_weights_with_and_without_a_hook(tmp_path, said, build, more):
    wished = debugged.settings(tmp_path, *EVERYTHING, reductions=[], histograms=True)

    with_hook = run(tmp_path, build, wished, said, **more)
    without = run(tmp_path, build, None, said, **more)

    assert same(with_hook, without)
    assert json.loads((tmp_path / "debugger.json").read_text())["saved"] == {"TRAIN": 3}
    assert not [line for line in said if "turned off" in line]


def test_tensors_have_smdebugs_names_and_the_steps_are_updates(tmp_path, said):
    train(made(), debugged.hook(tmp_path, debugged.settings(tmp_path, *EVERYTHING), said))

    read = trial(tmp_path / "tensors")
    assert read.steps(mode=modes().TRAIN) == [0, 1, 2]
    assert {
        "Net_conv.weight", "Net_bn.bias", "gradient/Net_fc.bias", "Net_input_0",
        "relu_input_0", "relu_input_1", "relu_output_0", "relu_output_1",
        "CrossEntropyLoss_input_0", "CrossEntropyLoss_input_1", "CrossEntropyLoss_output_0",
        "scalar/learning_rate",
    } <= set(read.tensor_names())  # fmt: skip
    assert read.tensor_names(collection="relu_output") == ["relu_output_0", "relu_output_1"]
    assert read.tensor("scalar/learning_rate").value(2) == pytest.approx(0.1)
    assert read.tensor("CrossEntropyLoss_input_1").value(1).tolist() == photos(1)[1].tolist()
    assert np.array_equal(read.tensor("Net_input_0").value(2), photos(2)[0].numpy())


def test_an_in_place_relus_input_is_what_went_in(tmp_path, said):
    network = made()
    expected = debugged.relu_inputs(made().train(), photos(0)[0])

    train(network, debugged.hook(tmp_path, debugged.settings(tmp_path, "relu_input"), said))

    read = trial(tmp_path / "tensors")
    for number, value in enumerate(expected):
        seen = read.tensor(f"relu_input_{number}").value(0)
        assert seen.min() < 0
        assert np.allclose(seen, value.numpy(), atol=1e-6)


def test_gradients_are_those_the_optimizer_is_given_and_frozen_layers_have_none(tmp_path, said):
    network = frozen(made())
    wished = debugged.settings(tmp_path, "gradients", "weights")

    train(network, debugged.hook(tmp_path, wished, said), steps=1)

    read = trial(tmp_path / "tensors")
    assert read.tensor_names(regex="^gradient/") == [
        "gradient/Net_fc.bias", "gradient/Net_fc.weight",
    ]  # fmt: skip
    before = read.tensor("Net_fc.weight").value(0)
    step = read.tensor("gradient/Net_fc.weight").value(0) * np.float32(0.1)
    assert np.allclose(network.fc.weight.detach().numpy(), before - step, atol=1e-7)
    assert "Net_conv.weight" in read.tensor_names()  # frozen weights are weights


@pytest.mark.parametrize("fused", [False, True])
def test_gradients_are_without_the_scale_of_mixed_precision(tmp_path, said, fused):
    def one(folder, scale, dtype=None):
        network, criterion = made(), nn.CrossEntropyLoss()
        optimizer = torch.optim.AdamW(network.parameters(), 0.01, fused=fused)
        listener = debugged.hook(folder, debugged.settings(folder, "gradients"), said)
        listener.register(network, criterion, optimizer)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale > 1)
        half = torch.autocast("cpu", torch.float16, enabled=dtype is not None)
        torch.manual_seed(1)
        debugged.update(network, listener, optimizer, 0, criterion, half, scaler)
        listener.close()
        return trial(folder / "tensors")

    plain, scaled = one(tmp_path / "a", 1), one(tmp_path / "b", 1024)
    overflown = one(tmp_path / "c", 2.0**40, torch.float16)

    name = "gradient/Net_deep.weight"
    assert np.allclose(plain.tensor(name).value(0), scaled.tensor(name).value(0), rtol=1e-4)
    # that update is left out, and so has no gradients that anything was done with
    assert name not in overflown.tensor_names()
    assert "CrossEntropyLoss_output_0" in overflown.tensor_names()


def test_bfloat16_is_saved_as_float32_and_float16_as_it_is(tmp_path, said):
    for dtype, kept in ((torch.bfloat16, np.float32), (torch.float16, np.float16)):
        folder = tmp_path / str(dtype)
        network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
        listener = debugged.hook(folder, debugged.settings(folder, "relu_output"), said)
        train(network, listener, 1, autocast=torch.autocast("cpu", dtype))

        assert trial(folder / "tensors").tensor("1_output_0").value(0).dtype == kept


def test_reductions_take_the_tensors_place_and_are_smdebugs(tmp_path, said):
    wished = debugged.settings(
        tmp_path, "weights", "labels", reductions=["mean", "abs_max", "l2", "std", "variance"]
    )
    network = made()
    weight = network.deep.weight.detach().clone()

    train(network, debugged.hook(tmp_path, wished, said), 1)

    read = trial(tmp_path / "tensors")
    tensor = read.tensor("Net_deep.weight")
    assert tensor.reduction_value(0, "mean") == pytest.approx(weight.mean().item())
    assert tensor.reduction_value(0, "max", abs=True) == pytest.approx(weight.abs().max().item())
    assert tensor.reduction_value(0, "l2") == pytest.approx(weight.norm().item())
    assert tensor.reduction_value(0, "std") == pytest.approx(weight.std().item())
    assert tensor.reduction_value(0, "variance") == pytest.approx(weight.var().item())
    labels = read.tensor("CrossEntropyLoss_input_1")
    assert labels.reduction_value(0, "mean") == photos(0)[1].double().mean().item()
    assert read.tensor("CrossEntropyLoss_output_0").value(0) > 0  # losses stay whole


def test_a_compiled_network_takes_eager_steps_where_it_is_saved(tmp_path, said):
    wished = debugged.settings(tmp_path, "relu_output", "weights", interval=2)
    network, alone = made(), made()
    compiled = torch.compile(network, backend="eager")

    weights = train(network, debugged.hook(tmp_path, wished, said), 5, seen=compiled)
    without = train(alone, nothing(tmp_path), 5, seen=torch.compile(alone, backend="eager"))

    read = trial(tmp_path / "tensors")
    assert read.steps(mode=modes().TRAIN) == [0, 2, 4]
    assert read.tensor("relu_output_1").steps() == [0, 2, 4]
    assert "Net_conv.weight" in read.tensor_names()  # not `_orig_mod`'s
    assert same(weights, without)
    assert torch._dynamo.utils.counters["frames"]["ok"] >= 1  # the other steps were compiled


def test_an_evaluation_is_one_step_with_the_mean_loss_of_all_its_photos(tmp_path, said):
    network, criterion = made().eval(), nn.CrossEntropyLoss()
    wished = debugged.settings(tmp_path, "labels", "relu_output", "gradients", eval_interval=4)
    listener = debugged.hook(tmp_path, wished, said)
    listener.register(network, criterion, torch.optim.SGD(network.parameters(), 0.1))
    sizes, losses = (6, 6, 2), []
    with torch.no_grad():
        for _ in range(3):
            listener.evaluation_begins(len(sizes))
            for number, size in enumerate(sizes):
                images, targets = photos(number)
                losses.append(criterion(network(images[:size]), targets[:size]).item())
            listener.evaluation_done()
    listener.close()

    read, evaluation = trial(tmp_path / "tensors"), modes().EVAL
    # due are mini-batches 0, 4 and 8: of the first, the second and the third evaluation
    assert read.steps(mode=evaluation) == [0, 3, 6]
    mean = sum(loss * size for loss, size in zip(losses[:3], sizes, strict=True)) / sum(sizes)
    loss = read.tensor("CrossEntropyLoss_output_0").value(3, mode=evaluation)
    assert loss == pytest.approx(mean, rel=1e-5)
    assert len(read.tensor("CrossEntropyLoss_input_1").value(0, mode=evaluation)) == sum(sizes)
    assert len(read.tensor("relu_output_0").value(0, mode=evaluation)) == 6
    assert not read.tensor_names(regex="^gradient")


def test_a_restart_goes_on_where_an_earlier_start_was_killed(tmp_path, said):
    wished = debugged.settings(tmp_path, "weights")
    network = made()
    train(network, debugged.hook(tmp_path, wished, said), 2)
    tensors = tmp_path / "tensors"
    (tensors / "claim.smd").touch()
    torn = tensors / "index" / "000000000" / "000000000002_worker_0.json.tmp"
    torn.write_text('{"half')

    train(network, debugged.hook(tmp_path, wished, said, resumed=True), 3, first=2)

    assert trial(tensors).steps(mode=modes().TRAIN) == [0, 1, 2, 3, 4]
    assert not torn.exists()


def test_another_runs_tensors_do_not_mix_with_this_ones(tmp_path, said):
    wished = debugged.settings(tmp_path, "weights")
    train(made(), debugged.hook(tmp_path, wished, said), 3)

    train(made(), debugged.hook(tmp_path, wished, said), 1)

    assert trial(tmp_path / "tensors").steps() == [0]


def test_an_update_that_is_begun_anew_is_saved_once(tmp_path, said):
    network, criterion = made(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    listener = debugged.hook(tmp_path, debugged.settings(tmp_path, "labels", "relu_output"), said)
    listener.register(network, criterion, optimizer)

    listener.update_begins(0)
    criterion(network(photos(7)[0]), photos(7)[1])  # and memory was short
    debugged.update(network, listener, optimizer, 0, criterion)
    listener.close()

    read = trial(tmp_path / "tensors")
    assert read.tensor("CrossEntropyLoss_input_1").value(0).tolist() == photos(0)[1].tolist()
    assert read.tensor_names(regex="relu_output") == ["relu_output_0", "relu_output_1"]


def test_an_error_is_logged_once_and_turns_the_hook_off_never_the_training(tmp_path, said):
    wished = debugged.settings(tmp_path, *EVERYTHING)
    network, criterion = made(), nn.CrossEntropyLoss()
    listener = debugged.hook(tmp_path, wished, said)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    listener.register(network, criterion, optimizer)
    torch.manual_seed(1)
    (tmp_path / "tensors" / "events").mkdir(parents=True)
    (tmp_path / "tensors" / "events" / "000000000001").write_text("in the way of that step")
    for step in range(3):
        debugged.update(network, listener, optimizer, step, criterion)
    listener.close()

    assert same(network.state_dict(), train(made(), nothing(tmp_path)))
    lines = [line for line in said if "hook turned off" in line]
    assert len(lines) == 1
    assert "Traceback" in lines[0]
    cost = json.loads((tmp_path / "debugger.json").read_text())
    assert cost["errors"] == 1
    assert cost["state"].startswith("turned off: ")
    assert trial(tmp_path / "tensors").steps() == [0]
    assert not any(module._forward_hooks for module in network.modules())


def test_an_error_in_a_listener_does_not_reach_the_forward_pass(tmp_path, said):
    class Strange(nn.Module):
        """Its output is a kind of tensor that cannot be copied."""

        def forward(self, x):
            return x.to("meta")

    class Odd(debugged.Net):
        def __init__(self):
            super().__init__()
            self.strange = Strange()

        def forward(self, images):
            self.strange(images)
            return super().forward(images)

    wished = debugged.settings(tmp_path, patterns=["strange_output"])

    train(Odd(), debugged.hook(tmp_path, wished, said))

    assert len([line for line in said if "hook turned off" in line]) == 1


def test_a_folder_that_cannot_be_written_is_said_and_training_goes_on(tmp_path, said):
    (tmp_path / "tensors").write_text("a file")

    train(made(), debugged.hook(tmp_path, debugged.settings(tmp_path), said))

    assert [line for line in said if "turned off" in line]


def test_tensorboard_finds_losses_learning_rate_and_histograms(tmp_path, said):
    wished = debugged.settings(tmp_path, "weights", "gradients", histograms=True)

    train(made(), debugged.hook(tmp_path, wished, said), 2)

    scalars = events.scalars(tmp_path / "tensorboard" / "TRAIN")
    assert [step for step, _ in scalars["CrossEntropyLoss_output_0"]] == [0, 1]
    assert scalars["scalar/learning_rate"][0][1] == pytest.approx(0.1)
    drawn = {
        value.tag: value.histo
        for event in events.read(tmp_path / "tensorboard" / "TRAIN")
        for value in event.summary.value
        if value.HasField("histo")
    }
    weight = drawn["weights/Net_deep.weight"]
    assert weight.num == sum(weight.bucket) == 4 * 4 * 3 * 3
    assert len(weight.bucket) == len(weight.bucket_limit)
    assert "gradients/gradient/Net_fc.bias" in drawn


def test_a_budget_widens_the_interval_and_says_so_once(tmp_path, said):
    listener = debugged.hook(tmp_path, debugged.settings(tmp_path, *EVERYTHING), said, budget=0.01)

    train(made(), listener, 30)

    assert len([line for line in said if "debug_budget=0.01 %" in line]) == 1
    cost = json.loads((tmp_path / "debugger.json").read_text())
    assert cost["widening"]["TRAIN"] > 1
    assert cost["saved"]["TRAIN"] < 5
    assert trial(tmp_path / "tensors").steps(mode=modes().TRAIN)[0] == 0


def test_nothing_listens_at_steps_that_are_not_saved(tmp_path, said):
    network, criterion = made(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    listener = debugged.hook(tmp_path, debugged.settings(tmp_path, *EVERYTHING, interval=2), said)
    listener.register(network, criterion, optimizer)

    heard = []
    for step in range(4):
        listener.update_begins(step)
        heard.append(any(module._forward_hooks for module in (*network.modules(), criterion)))
        listener.update_done()
    listener.close()

    assert heard == [True, False, True, False]
