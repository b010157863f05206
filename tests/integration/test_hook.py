"""Whole jobs with the Debugger's hook: with kept features and without, stopped and restarted."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.debugged import modes, trial
from tests.tree import Tree

pytestmark = pytest.mark.filterwarnings("ignore")  # smdebug's own

EVERYTHING = "weights,biases,gradients,relu_output,relu_input,input_image,labels,predictions"
CHOSEN = {
    "network": "resnet18", "fine_tune": "head", "precision": "float32", "epochs": "2",
    "hidden_units": "[8]",
}  # fmt: skip
HOOK = {"debug_collections": EVERYTHING, "debug_save_interval": "2", "debug_budget": "0"}
FEATURE_TOLERANCE = 2e-3
"""Of the head's own tensors: it is trained on rows that another batch size has rounded."""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The same job with a hook on features and on photos, and on features without one."""
    folder = tmp_path_factory.mktemp("jobs")
    made = {}
    for name, more in {
        "features": HOOK,
        "photos": {**HOOK, "feature_cache": "false"},
        "without": {},
    }.items():
        tree = made[name] = Tree(folder / name)
        for split, count in (("train", 8), ("validation", 3), ("test", 2)):
            tree.channel(split, count)
        done = tree.train(**CHOSEN, **more)
        assert done.returncode == 0, done.stderr
        tree.log = done.stdout
    return made


def weights(tree):
    return load_file(tree.root / "model" / "weights.safetensors")


def tensors(tree):
    return trial(tree.root / "output" / "tensors")


def saved(read, mode):
    """(name, step) -> value."""
    return {
        (name, step): read.tensor(name).value(step, mode=mode)
        for name in read.tensor_names(mode=mode)
        for step in read.tensor(name).steps(mode)
    }


@pytest.mark.parametrize("mode", ["TRAIN", "EVAL"])
def test_rules_see_the_same_tensors_with_and_without_the_cache(jobs, mode):
    assert "features: " in jobs["features"].log
    kind = modes()[mode]
    one, other = (saved(tensors(jobs[name]), kind) for name in ("features", "photos"))

    assert one.keys() == other.keys()
    names = {name for name, _ in one}
    assert {"layer1.0.relu_output_1", "relu_input_0", "ResNet_input_0", "fc.1_output_0",
            "ResNet_layer4.1.conv2.weight", "CrossEntropyLoss_input_0"} <= names  # fmt: skip
    assert {step for _, step in one} == ({0, 2, 4} if mode == "TRAIN" else {0, 1})
    for key, value in one.items():
        assert value.shape == other[key].shape, key
        assert np.allclose(value, other[key], atol=FEATURE_TOLERANCE, rtol=1e-3), key
        if key[0].startswith(("layer", "ResNet_layer")):  # of the frozen part, to the last bit
            assert np.array_equal(value, other[key]), key


def test_the_hook_and_its_passes_leave_no_trace_in_the_model(jobs):
    one, other = weights(jobs["features"]), weights(jobs["without"])

    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_job_says_what_the_hook_cost(jobs):
    log = jobs["features"].log
    cost = json.loads(jobs["features"].output("debugger.json").read_text())

    assert "debugger: 3 TRAIN, 2 EVAL steps saved, " in log
    assert cost["saved"] == {"TRAIN": 3, "EVAL": 2}
    assert cost["state"] == "on"
    assert cost["seconds"] > 0
    assert cost["percent"] > 0
    assert not jobs["without"].output("debugger.json").exists()
    assert not (jobs["without"].root / "output" / "tensors").exists()


def test_what_needs_no_look_into_the_backbone_sends_no_photo_through_it(jobs, tmp_path):
    tree = Tree(tmp_path / "ml")
    shutil.copytree(jobs["features"].root / "input", tree.root / "input")

    done = tree.train(**CHOSEN, debug_collections="gradients,labels", debug_include_regex="fc")

    assert done.returncode == 0, done.stderr
    read = tensors(tree)
    assert "fc.0_output_0" in read.tensor_names()
    assert "gradient/ResNet_fc.0.weight" in read.tensor_names()
    assert not read.tensor_names(regex="^layer")
    # the tail's own listeners were enough: with a pass these would be named after the network
    assert not read.tensor_names(regex="^ResNet_(in|out)put")


def test_a_restarted_job_goes_on_with_the_same_step_numbers(tmp_path):
    tree = Tree(tmp_path / "ml")
    tree.channel("train", 8)
    tree.channel("validation", 4)
    chosen = {"debug_save_interval": "1", "debug_budget": "0", "debug_collections": "weights"}
    assert tree.train(epochs="3", **chosen).returncode == 0
    whole = saved(tensors(tree), modes().TRAIN)
    shutil.rmtree(max((tree.root / "checkpoints").glob("*/step-*")))  # the last epoch is lost
    index = tree.root / "output" / "tensors" / "index" / "000000000"
    for path in sorted(index.glob("*.json"))[-4:]:
        path.unlink()  # and so is what was saved of it
    (tree.root / "output" / "tensors" / "claim.smd").touch()

    done = tree.train(epochs="3", **chosen)

    assert "resume: epoch 3" in done.stdout
    read = tensors(tree)
    assert read.steps(mode=modes().TRAIN) == list(range(9))
    assert read.steps(mode=modes().EVAL) == [0, 1, 2]
    again = saved(read, modes().TRAIN)
    assert again.keys() == whole.keys()
    assert all(np.array_equal(value, again[key]) for key, value in whole.items())


def test_the_platforms_switch_turns_the_hook_off(tmp_path):
    tree = Tree(tmp_path / "ml")
    tree.channel("train", 4)

    done = tree.train({"USE_SMDEBUG": "0"}, epochs="1", debug_save_interval="1")

    assert done.returncode == 0, done.stderr
    assert not (tree.root / "output" / "tensors").exists()
    assert "debugger: " not in done.stdout


def test_the_last_step_of_a_job_that_fails_is_there_to_look_at(tmp_path):
    tree = Tree(tmp_path / "ml")
    tree.channel("train", 8)

    done = tree.train(
        optimizer="sgd", learning_rate="100", momentum="0.999", weight_decay="10",
        warmup_epochs="0", epochs="50", schedule="constant", debug_save_interval="1",
        debug_collections="losses", debug_budget="0",
    )  # fmt: skip

    assert done.returncode == 1
    assert "non-finite-loss" in tree.failure
    read = tensors(tree)
    losses = read.tensor("CrossEntropyLoss_output_0")
    last = losses.steps()[-1]  # of the update, or of the evaluation after it
    assert not np.isfinite(losses.value(last))
    assert read.loaded_all_steps


def test_a_profiler_configuration_is_never_evaluated(tmp_path):
    tree = Tree(tmp_path / "ml")
    tree.channel("train", 4)
    trap = tmp_path / "evaluated"
    tree.config("profilerconfig.json", {"ProfilingParameters": {
        "PythonProfilingConfig": f"open({str(trap)!r}, 'w') and {{}}"}})  # fmt: skip
    config = tree.root / "input" / "config" / "profilerconfig.json"

    done = tree.train({"SMPROFILER_CONFIG_PATH": str(config)}, epochs="1", debug_save_interval="1")

    assert done.returncode == 0, done.stderr
    assert not trap.exists()
