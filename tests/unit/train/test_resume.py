"""A run that was stopped anywhere and taken up again ends in the very weights of a whole one."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from artifact.preprocess import Preprocessing
from container.failure import HostMemoryError
from tests.tree import photo
from train import batches, checkpoint, loop, optimizer
from train.batches import Loader, Photos
from train.evaluate import evaluate
from train.hyperparameters import Hyperparameters
from train.index import Index
from train.loss import CrossEntropyLoss

EPOCHS = 2
PHOTOS = 11


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for at in range(PHOTOS):
        (folder / f"{at}.jpg").write_bytes(photo((40 + 15 * at, 60, 220 - 15 * at), at))
    return Index.of("train", folder, ((f"{at}.jpg", at % 2) for at in range(PHOTOS)))


class Run:
    """A training run whose platform asks it to stop at the `stop_at`th question, if at all."""

    def __init__(self, index, chosen, stop_at=None, precision=torch.float32):
        torch.manual_seed(1)
        self.network = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 2),
        )  # fmt: skip
        self.network.to(memory_format=torch.channels_last)
        self.chosen, self.stop_at, self.precision = chosen, stop_at, precision
        self.optimizer = optimizer.make(chosen, self.network)
        self.scaler = torch.amp.GradScaler(
            "cpu", init_scale=64, growth_interval=3, enabled=precision is torch.float16
        )
        self.state = loop.State()
        photos = Photos(index, Preprocessing.for_size(16), "strong", seed=3)
        self.loader = Loader(photos, 6, 2, batches.Plan(0, 2), pin=False, stay=False)
        self.questions = 0

    def ended_by(self):
        return ""

    def should_stop(self):
        self.questions += 1
        return self.stop_at is not None and self.questions >= self.stop_at

    def evaluate(self):
        return evaluate(
            self.network, CrossEntropyLoss(), self.loader, torch.device("cpu"), nullcontext,
            self.should_stop, 2, self.bad_files_seen,
        )  # fmt: skip

    def bad_files_seen(self, index, lines): ...

    def train_mode(self): ...

    def update_begins(self, state): ...

    def update_done(self, state, images): ...

    def epoch_done(self, state, is_best): ...

    def fit(self):
        loop.fit(
            self.network, CrossEntropyLoss(), self.optimizer, self.scaler,
            optimizer.schedule(self.chosen, self.loader.steps), self.loader, self.state, self,
            epochs=EPOCHS, patience=0, fine_tune="all", device=torch.device("cpu"),
            autocast=lambda: torch.autocast("cpu", self.precision, self.precision != torch.float32),
        )  # fmt: skip
        return self

    def saved(self, store):
        tensors = checkpoint.collect(self.network, self.optimizer, self.scaler)
        store.save(self.state, tensors, None)

    def resumed(self, store):
        found = store.load()
        checkpoint.restore(found.tensors, self.network, self.optimizer, self.scaler)
        self.state = found.state
        return self


@pytest.mark.parametrize("chosen", [
    pytest.param(Hyperparameters(optimizer="adamw", epochs=EPOCHS), id="adamw"),
    pytest.param(Hyperparameters(optimizer="sgd", epochs=EPOCHS), id="sgd with momentum"),
])  # fmt: skip
@pytest.mark.parametrize("stop_at", [2, 3, 6, 8, 11, 14, 17, 20])
def test_a_run_stopped_at_any_question_resumes_bit_for_bit(index, tmp_path, chosen, stop_at):
    whole = Run(index, chosen).fit()
    store = checkpoint.Store(tmp_path, {}, lambda line: None)
    assert store.writable()

    Run(index, chosen, stop_at).fit().saved(store)
    resumed = Run(index, chosen).resumed(store).fit()

    pairs = zip(
        whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True
    )
    assert [name for (name, one), other in pairs if not torch.equal(one, other)] == []
    assert (
        resumed.state.history[-1]["validation_loss"] == whole.state.history[-1]["validation_loss"]
    )


def test_a_resumed_scaler_grows_when_it_would_have(index, tmp_path):
    chosen = Hyperparameters(epochs=EPOCHS)
    whole = Run(index, chosen, precision=torch.float16).fit()
    store = checkpoint.Store(tmp_path, {}, lambda line: None)
    assert store.writable()

    Run(index, chosen, 8, precision=torch.float16).fit().saved(store)
    resumed = Run(index, chosen, precision=torch.float16).resumed(store).fit()

    assert whole.scaler.state_dict() == resumed.scaler.state_dict()
    assert whole.scaler.get_scale() > 64


def test_a_foreign_file_beside_the_checkpoints_is_passed_over(tmp_path):
    (tmp_path / "run" / "last").mkdir(parents=True)
    (tmp_path / "run" / "last" / "checkpoint.json").write_text("[1, 2]")
    lines = []

    store = checkpoint.Store(tmp_path, {"seed": 1}, lines.append)

    assert store.writable()
    assert store.load() is None
    assert lines == [f"resume: none, no checkpoint in {tmp_path}"]


def test_an_update_whose_photos_are_partly_bad_is_the_mean_of_the_others(index, tmp_path):
    chosen = Hyperparameters(optimizer="sgd", learning_rate=1, momentum=0, weight_decay=0,
                             schedule="constant", warmup_epochs=0)  # fmt: skip

    def moved(names, batch_size):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
        before = network[1].weight.detach().clone()
        part = Index.of("train", tmp_path, ((name, at % 2) for at, name in enumerate(names)))
        run = Run(part, chosen)
        run.network, run.optimizer = network, optimizer.make(chosen, network)
        photos = Photos(part, Preprocessing.for_size(16), "none", seed=0)
        run.loader = Loader(photos, batch_size, 8, batches.Plan(0, 2), pin=False, stay=False)
        run.chosen = chosen
        loop.fit(
            network, CrossEntropyLoss(), run.optimizer, run.scaler, lambda step: 1.0, run.loader,
            run.state, run, epochs=1, patience=0, fine_tune="all", device=torch.device("cpu"),
            autocast=nullcontext,
        )  # fmt: skip
        return (network[1].weight.detach() - before).numpy()

    good = [f"{at}.jpg" for at in range(4)]
    for name in good:
        (tmp_path / name).write_bytes((index.root / name).read_bytes())
    for name in ("bad-0.jpg", "bad-1.jpg"):
        (tmp_path / name).write_bytes(b"no photo")

    assert np.allclose(moved([*good, "bad-0.jpg", "bad-1.jpg"], 6), moved(good, 4), atol=1e-6)


class Tight(nn.Module):
    """Has memory for so many photos at a time, but does not know before it has begun."""

    def __init__(self, network, most):
        super().__init__()
        self.network, self.most = network, most

    def forward(self, inputs):
        logits = self.network(inputs)
        if len(inputs) > self.most:
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
            )
        return logits


def tight(index, chosen, most, micro, stop_at=None):
    run = Run(index, chosen, stop_at)
    run.network = Tight(run.network, most)
    run.loader.micro = micro
    return run


@pytest.mark.parametrize("stop_at", [None, 4, 5])
def test_an_update_that_ran_out_of_memory_leaves_no_trace_and_a_resumed_run_remembers(
    index, tmp_path, capsys, stop_at
):
    chosen = Hyperparameters(epochs=EPOCHS)
    small = tight(index, chosen, 6, micro=3).fit()
    store = checkpoint.Store(tmp_path, {}, lambda line: None)
    assert store.writable()

    run = tight(index, chosen, 3, 6, stop_at).fit()
    if stop_at is not None:
        run.saved(store)
        run = tight(index, chosen, 3, 6).resumed(store).fit()

    assert capsys.readouterr().out.count("out of memory with 6 photos at a time") == 1
    pairs = zip(small.network.state_dict().items(), run.network.state_dict().values(), strict=True)
    assert [name for (name, one), other in pairs if not torch.equal(one, other)] == []


def test_a_second_shortage_of_memory_ends_the_run(index):
    with pytest.raises(HostMemoryError, match="with 3 photos at a time, after .* cut to 3"):
        tight(index, Hyperparameters(epochs=EPOCHS), 2, micro=6).fit()


def test_other_errors_of_the_network_stay_what_they_are(index):
    run = Run(index, Hyperparameters(epochs=EPOCHS))
    run.network[6] = nn.Linear(5, 2)

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run.fit()
