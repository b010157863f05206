"""Features of a frozen backbone: where a network is cut, what is kept, and what is read back."""

import os
from collections import namedtuple
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from artifact import network as networks
from artifact.preprocess import Preprocessing
from container.failure import HostMemoryError
from tests.tree import photo
from train import batches, checkpoint, loop, optimizer
from train.batches import Loader, Photos
from train.evaluate import StopRequestedError, evaluate
from train.features import engines, photo_ids, places, store, tail
from train.features.batches import FeatureBatches
from train.features.engines import Plan
from train.features.extract import extract
from train.features.store import Store, StoreError
from train.hyperparameters import Hyperparameters
from train.index import Index
from train.loss import CrossEntropyLoss
from train.schedule import Share

CPU = torch.device("cpu")
RULES = Preprocessing.for_size(32)
RECORD = store.record("float32", (4,))
PHOTOS = 13
BAD = 5

# one network of each kind of ending; SOAK=1 takes all that torchvision has
NAMES = ["small_cnn", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "resnet18"]
needs_openvino = pytest.mark.skipif(not find_spec("openvino"), reason="openvino is not installed")


def ids(*numbers):
    return np.array([[number + 1] * photo_ids.ID_BYTES for number in numbers], np.uint8)


def rows(*numbers):
    return np.array([[number] * 4 for number in numbers], np.float32)


def filled(folder, *numbers, key="a", say=lambda line: None):
    kept = Store(folder, {"key": key}, RECORD, say)
    kept.open()
    if numbers:
        write(kept, *numbers)
    return kept


def write(kept, *numbers):
    writer = kept.writer()
    writer.add(ids(*numbers), rows(*numbers))
    writer.publish()


# where a network is cut


@pytest.mark.parametrize("name", networks.names() if os.environ.get("SOAK") else NAMES)
@pytest.mark.parametrize("hidden_units", [[], [6]], ids=["one layer", "hidden units"])
@torch.no_grad()
def test_backbone_and_tail_are_the_network(name, hidden_units):
    torch.manual_seed(0)
    side = {"inception_v3": 75, "maxvit_t": 224, "vit_h_14": 224}.get(name, 64)
    network = networks.build(name, 3, hidden_units, side).eval()
    images = torch.randn(2, 3, side, side)
    backbone = tail.Backbone(network)

    features = backbone(images)
    logits = tail.tail(network)(features)

    assert torch.equal(logits, network(images))
    assert tuple(features.shape[1:]) == tail.shape(name, side)


def test_only_the_head_of_a_tail_is_in_training_mode():
    network = networks.build("small_cnn", 3, [6], 32)
    trained = tail.tail(network)

    loop.set_train_mode(trained, "head")

    assert (trained.training, networks.head(network).training) == (False, True)
    assert {id(p) for p in trained.parameters()} == {
        id(p) for p in networks.head(network).parameters()
    }


def test_the_digest_is_of_the_backbone_alone():
    torch.manual_seed(0)
    network = networks.build("small_cnn", 3, (), 32)
    before = tail.digest(network)

    with torch.no_grad():
        networks.head(network).weight.add_(1)
        same = tail.digest(network)
        network.get_parameter("0.weight").add_(1)

    assert same == before
    assert tail.digest(network) != before


# what is kept


def test_rows_are_found_by_photo_in_any_order_and_over_files(tmp_path):
    kept = filled(tmp_path, 3, 1)
    write(kept, 2)

    found = kept.rows()
    at = found.find(ids(1, 9, 2, 3))

    assert at[1] == -1
    assert np.array_equal(found.take(at[[0, 2, 3]]), rows(1, 2, 3))


def test_a_photo_that_could_not_be_read_is_never_found(tmp_path):
    kept = filled(tmp_path, 1)
    writer = kept.writer()
    writer.add(np.zeros((1, photo_ids.ID_BYTES), np.uint8), rows(7))
    writer.publish()

    assert kept.rows().find(np.zeros((1, photo_ids.ID_BYTES), np.uint8)).tolist() == [-1]


def test_writers_at_the_same_time_never_meet(tmp_path):
    kept, other = filled(tmp_path), Store(tmp_path, {"key": "a"}, RECORD, lambda line: None)
    one, two = kept.writer(), other.writer()
    one.add(ids(1), rows(1))
    two.add(ids(1, 2), rows(1, 2))
    other.open()  # a job that starts meanwhile leaves what the others write
    one.publish()
    two.publish()

    found = kept.rows()

    assert np.array_equal(found.take(found.find(ids(1, 2))), rows(1, 2))


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: b"\x00" + data[1:], lambda
                                    data: b""], ids=["cut", "changed", "empty"])  # fmt: skip
def test_a_damaged_file_is_named_and_removed(tmp_path, damage):
    lines = []
    kept = filled(tmp_path, 1)
    write(kept, 2)
    path = next(iter(sorted(kept.folder.glob("*.rows"))))
    path.write_bytes(damage(path.read_bytes()))

    found = Store(tmp_path, {"key": "a"}, RECORD, lines.append).rows()

    assert len(found) == 1
    assert lines == [f"features: {path.name} is damaged; its rows are computed anew"]
    assert not path.exists()


def test_what_a_killed_writer_left_is_not_read_and_is_removed(tmp_path):
    kept = filled(tmp_path, 1)
    alive, killed = kept.writer(), kept.folder / ".partial-killed"
    killed.write_bytes(b"half a row, and nobody holds its lock")
    for path in (killed, alive._path):
        os.utime(path, (1, 1))

    kept.open()

    assert len(kept.rows()) == 1
    assert list(kept.folder.glob(".partial-*")) == [alive._path]
    alive.close()


def test_half_written_rows_lie_outside_and_are_gone_at_the_end(tmp_path):
    outside = tmp_path / "output" / ".features"
    outside.mkdir(parents=True)
    killed = outside / ".partial-killed"
    killed.write_bytes(b"half a row")
    os.utime(killed, (1, 1))
    kept = Store(tmp_path / "checkpoints", {}, RECORD, print, outside=outside)
    kept.open()
    writer = kept.writer()
    writer.add(ids(1), rows(1))

    hidden = [path.name for path in kept.folder.iterdir() if path.name != store.KEY]
    staged = list(outside.iterdir())
    writer.publish()
    kept.close()

    assert hidden == []
    assert staged == [writer._path]
    assert not outside.exists()
    assert np.array_equal(kept.rows().take(np.array([0])), rows(1))


def test_another_process_that_still_writes_keeps_its_folder(tmp_path):
    one, other = (
        Store(tmp_path / "checkpoints", {}, RECORD, print, outside=tmp_path / "outside")
        for _ in range(2)
    )
    one.open()
    other.open()
    writer = other.writer()
    writer.add(ids(2), rows(2))

    one.close()
    writer.publish()
    other.close()

    assert len(one.rows()) == 1
    assert not (tmp_path / "outside").exists()


def test_without_a_way_in_from_outside_hidden_files_serve(tmp_path):
    (tmp_path / "file").touch()
    kept = Store(tmp_path, {}, RECORD, print, outside=tmp_path / "file" / "no-folder")
    kept.open()

    write(kept, 1)
    kept.close()

    assert len(kept.rows()) == 1
    assert not list(kept.folder.glob(".partial-*"))


def test_room_is_made_by_removing_what_was_not_used_for_longest(tmp_path, monkeypatch):
    lines = []
    for age, key in ((100, "old"), (50, "new")):
        folder = filled(tmp_path, *range(50), key=key).folder
        os.utime(folder / store.KEY, (age, age))
    mine = Store(tmp_path, {"key": "mine"}, RECORD, lines.append)
    mine.open()
    used = sum(path.stat().st_size for path in tmp_path.glob("*/*"))
    usage = namedtuple("usage", "free")  # noqa: PYI024
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(used + 200))

    mine.make_room(1500)

    assert [line for line in lines if "removed" in line] == [
        f"features: {Store(tmp_path, {'key': 'new'}, RECORD, print).folder} removed, to make room"
    ]
    with pytest.raises(StoreError, match=r"room for \d+ MiB of features, 96 MiB are needed"):
        mine.make_room(100_000_000)


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "file", {}, RECORD, print).open()


def test_the_warm_pools_folder_comes_first_and_much_is_not_uploaded(tmp_path, monkeypatch):
    monkeypatch.setenv(places.WARM_POOL, str(tmp_path / "pool"))
    checkpoints = tmp_path / "checkpoints"

    private = tmp_path / "private"
    few, many = (list(places.roots(checkpoints, private, needed)) for needed in (1 << 20, 2 << 30))

    assert few[:2] == [tmp_path / "pool" / "features", checkpoints / "features"]
    assert checkpoints / "features" not in many
    assert many == [few[0], private]
    assert list(places.roots(None, None, 1)) == [few[0]]


# what computes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_rows_keep_the_arithmetic_that_they_were_computed_in(dtype, index, tmp_path):
    made = FeatureRun(index, tmp_path, dtype=dtype).batches()

    batch = next(made.in_order())

    assert batch.inputs.dtype is getattr(torch, dtype)
    assert made.prepare(batch.inputs).dtype is torch.float32


@needs_openvino
def test_openvino_answers_as_torch_does_and_no_row_depends_on_its_neighbours():
    torch.manual_seed(0)
    backbone = tail.Backbone(networks.build("resnet18", 3, (), 32).eval())
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    quick, plain = (
        engines.build(Plan(engine, "float32"), backbone, RULES, CPU, 8)
        for engine in ("openvino", "torch")
    )

    rows = quick.compute(images)

    assert np.allclose(rows, plain.compute(images), atol=1e-4)
    order = np.random.default_rng(1).permutation(8)
    assert np.array_equal(quick.compute(np.ascontiguousarray(images[order])), rows[order])
    assert np.array_equal(quick.compute(images), rows)


def test_openvino_is_for_networks_whose_work_is_worth_it():
    assert engines.plans(CPU, torch.float32, int(1e6)) == [Plan("torch", "float32")]
    assert engines.plans(CPU, torch.float16, int(4e9)) == [Plan("torch", "float16")]
    wanted = "openvino" if find_spec("openvino") else "torch"
    assert engines.plans(CPU, torch.float32, int(4e9))[0].engine == wanted


# what is read back


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for at in range(PHOTOS):
        data = photo((40 + 15 * at, 60, 220 - 15 * at), at)
        (folder / f"{at}.jpg").write_bytes(b"no photo" if at == BAD else data)
    return Index.of("train", folder, ((f"{at}.jpg", at % 2) for at in range(PHOTOS)))


class FeatureRun:
    """A head on kept features, whose platform asks it to stop at the `stop_at`th question."""

    def __init__(self, index, folder, chosen=None, stop_at=None, views=1, dtype="float32"):
        torch.manual_seed(1)
        self.chosen = chosen or Hyperparameters(epochs=3, batch_size=4)
        self.network = networks.build("small_cnn", 2, [8], 32).eval()
        self.trained = tail.tail(self.network)
        self.index, self.views, self.stop_at, self.dtype = index, views, stop_at, dtype
        self.augmentation = "none" if views == 1 else "crop"
        shape = tail.shape("small_cnn", 32)
        self.kept = Store(folder, {}, store.record(dtype, shape), lambda line: None)
        self.optimizer = optimizer.make(self.chosen, self.trained)
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.state, self.questions, self.bad = loop.State(), 0, []

    def photos(self, micro=4):
        photos = Photos(self.index, RULES, self.augmentation, seed=3)
        return Loader(photos, 4, micro, batches.Plan(0, 2), pin=False, stay=False)

    def extract(self):
        """Of what is missing; returns the ids by view, and the bad photos."""
        self.kept.open()
        plain = photo_ids.of(self.index, lambda count: None, lambda: False)
        every = [photo_ids.of_view(plain, self.augmentation, at) for at in range(self.views)]
        bad = {}
        for view, ids in enumerate(every):
            missing = np.flatnonzero(self.kept.rows().find(ids) < 0)
            with_hook = tail.Backbone(self.network)
            plan = Plan("torch", self.dtype)
            make = partial(engines.build, plan, with_hook, RULES, CPU)
            engine = engines.Fitting(make, 4)
            bad |= extract(
                engine, self.photos(), missing, view, ids, self.kept, self.should_stop,
                self.bad_files_seen, lambda count: None,
            )  # fmt: skip
            with_hook.close()
        return every, bad

    def batches(self):
        every, bad = self.extract()
        rows = self.kept.rows()
        places = np.stack([rows.find(ids) for ids in every])
        dtype = getattr(torch, self.dtype)
        return FeatureBatches(
            self.index, rows, places, bad, dtype, self.chosen.batch_size, 3,
            Share((len(self.index),)),
        )  # fmt: skip

    def ended_by(self):
        return ""

    def should_stop(self):
        self.questions += 1
        return self.stop_at is not None and self.questions >= self.stop_at

    def bad_files_seen(self, index, lines):
        self.bad += lines

    def evaluate(self):
        return evaluate(
            self.trained, CrossEntropyLoss(), self.made, CPU, nullcontext, self.should_stop, 2,
            self.bad_files_seen,
        )  # fmt: skip

    def train_mode(self): ...

    def update_begins(self, state): ...

    def update_done(self, state, images): ...

    def epoch_done(self, state, is_best): ...

    def fit(self, made):
        self.made, self.questions = made, 0
        loop.fit(
            self.trained, CrossEntropyLoss(), self.optimizer, self.scaler,
            optimizer.schedule(self.chosen, made.steps), made, self.state, self,
            epochs=self.chosen.epochs, patience=0, fine_tune="head", device=CPU,
            autocast=nullcontext,
        )  # fmt: skip
        return self


def test_features_come_in_the_photos_own_order_with_the_same_bad_files(index, tmp_path):
    run = FeatureRun(index, tmp_path)
    made, photos = run.batches(), run.photos()
    pairs = list(zip(photos.epoch(2, 1), made.epoch(2, 1), strict=True))

    assert made.steps == photos.steps
    assert sum(one.spec.last for one, _ in pairs) == made.steps - 1
    for one, other in pairs:
        assert np.array_equal(one.spec.positions, other.spec.positions)
        assert torch.equal(one.targets, other.targets)
        assert (one.bad, one.missing) == (other.bad, other.missing)
        assert len(other.inputs) == len(other.targets)
    assert set(run.bad) == {f"train/{BAD}.jpg: 8 bytes that start with b'no photo' are none of "
                            "JPEG, PNG, WebP, BMP, TIFF"}  # fmt: skip


def test_a_photos_row_is_what_the_backbone_says_of_it(index, tmp_path):
    run = FeatureRun(index, tmp_path)
    made = run.batches()
    ours, photos = next(made.in_order()), run.photos(micro=PHOTOS)
    images = next(photos.in_order()).inputs

    with torch.no_grad():
        wanted = tail.Backbone(run.network)(photos.prepare(images))

    assert torch.allclose(ours.inputs, wanted, atol=1e-5)


def tight(run, most):
    """Memory for so many photos at a time."""

    def refuse(network, inputs):
        if len(inputs[0]) > most:
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
            )

    run.network.register_forward_pre_hook(refuse)
    return run


def test_features_that_ran_out_of_memory_are_computed_in_halves_and_that_is_said_once(
    index, tmp_path, capsys
):
    roomy = FeatureRun(index, tmp_path / "roomy").batches()

    made = tight(FeatureRun(index, tmp_path / "tight"), 2).batches()

    said = capsys.readouterr().out
    assert said.count("out of memory with 4 photos at a time") == 1
    assert said.endswith("from here on 2\n")
    one, other = next(roomy.in_order()), next(made.in_order())
    assert np.array_equal(one.spec.positions, other.spec.positions)
    assert torch.allclose(one.inputs, other.inputs, atol=1e-6)


def test_memory_that_does_not_do_for_half_the_features_is_a_failure(index, tmp_path):
    with pytest.raises(HostMemoryError, match="with 2 photos at a time, after .* cut to 2"):
        tight(FeatureRun(index, tmp_path), 1).batches()


def test_views_differ_and_every_epoch_chooses_among_them_by_seed_and_number(index, tmp_path):
    made = FeatureRun(index, tmp_path, views=3).batches()

    def epoch(number):
        seen = [batch for batch in made.epoch(number)]
        order = np.concatenate([batch.spec.positions for batch in seen])
        return torch.cat([batch.inputs for batch in seen])[np.argsort(order)]

    assert torch.equal(epoch(0), epoch(0))
    different = (epoch(0) != epoch(1)).any(1).float().mean()
    assert 0 < different < 1
    assert len({tuple(epoch(number)[0].tolist()) for number in range(20)}) == 3


@pytest.mark.parametrize("views", [1, 2])
def test_rows_that_are_kept_are_not_computed_again(index, tmp_path, views):
    first = FeatureRun(index, tmp_path, views=views)
    first.batches()
    second = FeatureRun(index.take(np.array([7, 3, 1])), tmp_path, views=views)

    second.batches()

    assert second.questions == 0


def test_a_photos_view_is_the_same_pixels_wherever_it_stands_and_whatever_the_seed(index):
    def seen(positions, seed, view):
        part = Photos(index.take(np.array(positions)), RULES, "strong", seed)
        loader = Loader(part, 4, 4, batches.Plan(0, 2), pin=False, stay=False)
        return next(loader.these(np.arange(len(positions)), view)).inputs

    one = seen([7, 3, 1, 0], seed=3, view=2)

    assert torch.equal(one[[3, 1]], seen([0, 3], seed=4, view=2))
    assert (one != seen([7, 3, 1, 0], seed=3, view=1)).flatten(1).any(1).all()


def test_a_changed_photo_under_an_old_name_is_computed_anew(index, tmp_path):
    for at in (0, 1):
        (tmp_path / f"{at}.jpg").write_bytes((index.root / f"{at}.jpg").read_bytes())
    mine = Index.of("train", tmp_path, ((f"{at}.jpg", at) for at in (0, 1)))
    before = photo_ids.of(mine, lambda count: None, lambda: False)
    (tmp_path / "0.jpg").write_bytes(photo((1, 2, 3), 0))

    after = photo_ids.of(mine, lambda count: None, lambda: False)

    assert (before != after).any(1).tolist() == [True, False]


def test_a_stop_keeps_what_was_computed_and_the_rest_comes_out_the_same(index, tmp_path):
    whole = FeatureRun(index, tmp_path / "whole").batches()
    stopped = FeatureRun(index, tmp_path / "stopped", stop_at=3)
    with pytest.raises(StopRequestedError):
        stopped.extract()
    kept = len(stopped.kept.rows())

    rest = FeatureRun(index, tmp_path / "stopped").batches()

    assert 0 < kept < PHOTOS - 1
    assert torch.equal(next(whole.in_order()).inputs, next(rest.in_order()).inputs)


@pytest.mark.parametrize("stop_at", [2, 4, 5, 7, 9, 10, 12])
@pytest.mark.parametrize("cache", ["present", "absent", "partial"])
def test_a_head_stopped_at_any_question_resumes_bit_for_bit(index, tmp_path, stop_at, cache):
    whole = FeatureRun(index, tmp_path / "whole", views=2)
    whole.fit(whole.batches())
    saved = checkpoint.Store(tmp_path / "checkpoints", {}, lambda line: None)
    assert saved.writable()
    stopped = FeatureRun(index, tmp_path / "rows", views=2)
    made = stopped.batches()
    stopped.stop_at = stop_at
    stopped.fit(made)
    assert stopped.state.interrupted
    saved.save(
        stopped.state, checkpoint.collect(stopped.trained, stopped.optimizer, stopped.scaler), None
    )
    files = list(stopped.kept.folder.glob("*.rows"))
    for path in {"present": [], "absent": files, "partial": files[:1]}[cache]:
        path.unlink()

    resumed = FeatureRun(index, tmp_path / "rows", views=2)
    found = saved.load()
    made = resumed.batches()
    checkpoint.restore(found.tensors, resumed.trained, resumed.optimizer, resumed.scaler)
    resumed.state = found.state
    resumed.fit(made)

    pairs = zip(
        whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True
    )
    assert [name for (name, one), other in pairs if not torch.equal(one, other)] == []
    assert resumed.state.history == [
        {**metrics, "images_per_second": mine["images_per_second"]}
        for metrics, mine in zip(whole.state.history, resumed.state.history, strict=True)
    ]
