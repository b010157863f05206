"""Saved tensors as the report shows them, against smdebug's own reader."""

import shutil

import numpy as np
import pytest

from debugger.report import tensors
from debugger.report.trial import digest
from tests import diagnosis

pytestmark = pytest.mark.filterwarnings("ignore")  # smdebug warns at import and while it reads


def opened(folder):
    from smdebug.trials import create_trial

    return create_trial(str(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return diagnosis.saved(tmp_path_factory.mktemp("saved") / "tensors")


@pytest.fixture(scope="module")
def trial(folder):
    return opened(folder)


@pytest.fixture(scope="module")
def found(trial):
    return digest(trial)


def test_the_size_of_a_gradient_is_the_norm_of_what_was_saved(found, trial):
    gradients = found.gradients

    assert gradients.measure == "L2 norm"
    assert gradients.sizes.shape == (18, 24)
    for layer in ("SmallNet_head.0.weight", "SmallNet_layers.0.0.weight"):
        row = gradients.sizes[gradients.layers.index(layer)]
        for step, size in zip(gradients.steps, row, strict=True):
            value = trial.tensor(f"gradient/{layer}").value(step)
            assert size == pytest.approx(np.linalg.norm(value.astype(float)), rel=1e-6)


def test_layers_stand_in_the_order_in_which_the_network_uses_them(found):
    numbers = [name.split(".")[1] for name in found.gradients.layers if "layers" in name]

    assert numbers == sorted(numbers)
    assert "head" in found.gradients.layers[-1]


def test_histograms_hold_all_values_and_their_facts(found, trial):
    weights = {each.name: each for each in found.distributions if each.kind == "weights"}
    activations = [each for each in found.distributions if each.kind == "activations"]

    one = weights["SmallNet_layers.0.0.weight"]
    last = trial.tensor(one.name).value(one.steps[-1])
    assert one.values == last.size == 216
    assert one.mean[-1] == pytest.approx(last.mean(), abs=1e-6)
    assert one.shares.sum(1) == pytest.approx(np.ones(len(one.steps)))
    assert one.shares.shape == (len(one.steps), tensors.BINS)
    assert len(weights) == 9
    rectified = [each for each in activations if each.zeros[-1] > 0.2]
    assert rectified
    for each in rectified:
        value = trial.tensor(each.name).value(each.steps[-1])
        assert each.zeros[-1] == pytest.approx((value == 0).mean())


def test_losses_are_kept_by_mode(found):
    by_mode = {loss.mode: loss for loss in found.losses}

    assert set(by_mode) == {"TRAIN", "EVAL"}
    assert len(by_mode["TRAIN"].steps) == 24
    assert by_mode["TRAIN"].values[-1] < by_mode["TRAIN"].values[0]
    assert found.notes == []


def test_a_time_that_is_over_leaves_a_coarse_look_at_the_whole_run(trial):
    moments = iter(range(10**6))

    found = digest(trial, seconds=36, now=lambda: next(moments))

    assert len(found.gradients.steps) < 24
    assert found.gradients.steps[0] == 0
    assert found.gradients.steps[-1] == trial.steps()[-1]
    assert any(note.startswith("gradients: the time for reading") for note in found.notes)
    assert any(note.startswith("weights: the time for reading") for note in found.notes)


def test_reductions_are_shown_by_their_own_name(tmp_path):
    trial = opened(diagnosis.saved(tmp_path / "tensors", steps=6, reductions="mean,max"))

    found = digest(trial)

    assert found.gradients.measure == "mean of absolute values"
    assert np.isfinite(found.gradients.sizes).all()
    assert (found.gradients.sizes > 0).any()
    assert found.distributions == []
    assert any("only reductions were saved" in note for note in found.notes)


def test_gradients_that_are_no_numbers_are_marked(tmp_path):
    trial = opened(diagnosis.saved(tmp_path / "tensors", steps=8, rate=1e30))

    found = digest(trial)

    assert np.isinf(found.gradients.sizes[:, -1]).any()
    assert np.isfinite(found.gradients.sizes[:, 0]).all()
    assert any(each.broken[-1] for each in found.distributions)


def test_of_a_deep_network_a_part_is_shown_and_said_so(tmp_path):
    trial = opened(diagnosis.saved(tmp_path / "tensors", steps=2, depth=130))

    found = digest(trial)

    assert len(found.gradients.layers) == tensors.MOST_LAYERS
    assert found.gradients.saved_layers == 278
    assert f"gradients: {tensors.MOST_LAYERS} of 278 layers, evenly spread" in found.notes
    assert "layers.0.0" in found.gradients.layers[0]
    assert "head.130" in found.gradients.layers[-1]
    kinds = [each.kind for each in found.distributions]
    assert kinds.count("weights") == tensors.MOST_DISTRIBUTIONS


def test_a_damaged_file_costs_its_own_tensors_only(folder, tmp_path):
    copy = tmp_path / "tensors"
    shutil.copytree(folder, copy)
    files = sorted(copy.glob("events/*/*.tfevents"))
    files[3].write_bytes(files[3].read_bytes()[:3000])
    files[4].unlink()

    found = digest(opened(copy))

    assert any("could not be read" in note for note in found.notes)
    assert np.isfinite(found.gradients.sizes[:, 0]).all()
    assert np.isfinite(found.gradients.sizes[:, -1]).all()
