"""The hook in the real loop: updates of several micro-batches, and passes beside the training."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from artifact.preprocess import Preprocessing
from tests import debugged
from tests.debugged import modes, trial
from tests.tree import COLOURS, photo
from train import batches, debugging, loop
from train.batches import Loader, Photos
from train.debugging import Whole
from train.evaluate import Evaluation
from train.features.batches import FeatureBatches
from train.index import Index
from train.loaders import Loaders
from train.loss import CrossEntropyLoss

pytestmark = pytest.mark.filterwarnings("ignore")  # smdebug's own, in its thread
CPU = torch.device("cpu")
BATCH, MICRO = 6, 2


@pytest.fixture
def index(tmp_path):
    samples = []
    for target, (label, colour) in enumerate(COLOURS.items()):
        (tmp_path / label).mkdir()
        for number in range(5):
            path = tmp_path / label / f"{number}.jpg"
            path.write_bytes(photo(colour, 100 * target + number))
            samples.append((str(path.relative_to(tmp_path)), target))
    return Index.of("train", tmp_path, samples)


def loader(index, batch=BATCH, micro=MICRO, augmentation="none"):
    seen = Photos(index, Preprocessing.for_size(16), augmentation, seed=3)
    return Loader(seen, batch, micro, batches.Plan(0, 2), pin=False, stay=False)


class Events:
    """Of a loop with a hook."""

    def __init__(self, hook):
        self.hook = hook

    def should_stop(self):
        return False

    def ended_by(self):
        return ""

    def update_begins(self, state):
        self.hook.update_begins(state.step)

    def update_done(self, state, images):
        self.hook.update_done()

    def evaluate(self):
        return Evaluation(0.0, np.eye(3, dtype=np.int64))

    def train_mode(self): ...

    def bad_files_seen(self, index, lines): ...

    def epoch_done(self, state, is_best): ...


def fit(index, hook):
    network, criterion = debugged.made(), CrossEntropyLoss()
    network.drop.p = 0.0
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    hook.register(network, criterion, optimizer)
    loop.fit(
        network, criterion, optimizer, torch.amp.GradScaler("cpu", enabled=False), lambda step: 0.1,
        loader(index), loop.State(), Events(hook), epochs=1, patience=0,
        fine_tune="all", device=CPU, autocast=nullcontext,
    )  # fmt: skip
    hook.close()
    return network


def test_a_saved_step_is_one_update_of_all_its_micro_batches(index, tmp_path):
    said = []
    wished = debugged.settings(
        tmp_path, "weights", "gradients", "labels", "predictions", "input_image", "relu_output"
    )

    network = fit(index, debugged.hook(tmp_path, wished, said))

    read = trial(tmp_path / "tensors")
    assert read.steps(mode=modes().TRAIN) == [0, 1, 2]
    first = next(loader(index, micro=BATCH).epoch(0))
    labels = read.tensor("CrossEntropyLoss_input_1").value(0)
    assert labels.tolist() == first.targets.tolist()
    logits = torch.from_numpy(read.tensor("CrossEntropyLoss_input_0").value(0))
    mean = torch.nn.functional.cross_entropy(logits, first.targets).item()
    assert read.tensor("CrossEntropyLoss_output_0").value(0) == pytest.approx(mean, rel=1e-5)
    images = loader(index).prepare(first.inputs)[:MICRO]
    assert np.allclose(read.tensor("Net_input_0").value(0), images.numpy())
    assert len(read.tensor("relu_output_0").value(0)) == MICRO
    # the weights before the update, less its gradient, are those before the next one
    weight, gradient = read.tensor("Net_deep.weight"), read.tensor("gradient/Net_deep.weight")
    for step in (0, 1):
        after = weight.value(step) - np.float32(0.1) * gradient.value(step)
        assert np.allclose(after, weight.value(step + 1), atol=1e-7)
    last = weight.value(2) - np.float32(0.1) * gradient.value(2)
    assert np.allclose(last, network.deep.weight.detach().numpy(), atol=1e-7)


def test_the_loop_ends_in_the_same_weights_with_a_hook(index, tmp_path):
    wished = debugged.settings(tmp_path, "all")

    one = fit(index, debugged.hook(tmp_path, wished, [])).state_dict()
    other = fit(index, debugged.hook(tmp_path, None, [])).state_dict()

    assert all(torch.equal(one[name], other[name]) for name in one)


class Rows:
    """What FeatureBatches asks of a store; the rows themselves are not looked at here."""

    record = np.dtype(("<f4", (4,)))


def features(index, views):
    places = np.zeros((views, len(index)), np.int64)
    share = loader(index).share
    return FeatureBatches(index, Rows(), places, {}, torch.float32, BATCH, 3, share)


@pytest.mark.parametrize("views", [1, 3])
def test_a_pass_sends_the_first_micro_batch_in_the_views_that_are_trained_on(index, views):
    photos = loader(index, augmentation="strong" if views > 1 else "none")
    kept = features(index, views)
    network, seen = debugged.made().train(), []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    before = {name: each.clone() for name, each in network.state_dict().items()}
    random = torch.get_rng_state()
    whole = Whole(
        network, Loaders(photos, photos, photos, 0, lambda *_: photos),
        Loaders(kept, kept, kept, 0, lambda *_: photos), CPU, nullcontext,
    )  # fmt: skip

    whole.update(epoch=1, step=1)

    specs = photos.share.epoch(BATCH, MICRO, 3, 1)
    first = next(spec for spec in specs if spec.step == 1)
    view = kept.views(1)[first.positions]
    expected = [
        next(photos.these(np.array([at]), int(number))).inputs
        for at, number in zip(first.positions, view, strict=True)
    ]
    assert torch.equal(seen[0], photos.prepare(torch.cat(expected)))
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)  # statistics, too
    assert torch.equal(random, torch.get_rng_state())
    assert all(each.grad is None for each in network.parameters())


def test_an_evaluation_counts_the_mini_batches_of_photos(index):
    assert debugging.evaluation_batches(loader(index, micro=4)) == 4
    assert debugging.evaluation_batches(loader(index, micro=64)) == 1
