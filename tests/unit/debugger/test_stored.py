"""A saved tensor read in one piece is what smdebug's own reader returns, or is left to it."""

import warnings
from contextlib import suppress

import numpy as np
import pytest

from debugger import stored
from debugger.reader import LocalIndexReader, masked_crc32c
from debugger.tensors import Tensors

KINDS = [np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_]


def save(folder, values):
    """By smdebug's own writer."""
    from smdebug.core.collection_manager import CollectionManager
    from smdebug.core.writer import FileWriter

    folder.mkdir()
    known = CollectionManager()
    known.add("all")
    known.set_num_workers(1)
    known.get("all").include_regex = [".*"]
    for name in values:
        known.get("all").add_tensor_name(name)
    written = folder / "collections" / "000000000" / "worker_0_collections.json"
    written.parent.mkdir(parents=True)
    known.export(str(folder), written.name)
    with warnings.catch_warnings(), FileWriter(str(folder), "worker_0", step=0) as writer:
        warnings.simplefilter("ignore")  # smdebug's own
        for name, value in values.items():
            writer.write_tensor(value, name)
    return folder


def locations(folder):
    trial = Tensors(folder)
    for name in trial.tensor_names():
        yield name, trial.tensor(name)._step(0).location


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    random = np.random.default_rng(0)
    values = {f"of/{np.dtype(kind)}": random.integers(0, 2, (3, 4, 5)).astype(kind)
              for kind in KINDS}  # fmt: skip
    values |= {"scalar": np.float32(2.5), "row": random.normal(size=300_000).astype("f4")}
    return values, save(tmp_path_factory.mktemp("saved") / "tensors", values)


def test_all_kinds_are_read_as_they_were_saved(saved):
    values, folder = saved
    read = {}
    for name, where in locations(folder):
        start, length = int(where.start_idx), int(where.length)
        read[name] = stored.read(where.event_file_name, start, length)
        theirs = LocalIndexReader(str(folder)).fetch_tensor_value(where)
        assert read[name].dtype == theirs.dtype
        assert read[name].shape == theirs.shape
        assert np.array_equal(read[name], theirs)

    assert {*read} == {*values}
    assert all(
        np.array_equal(read[name].ravel(), np.ravel(value)) for name, value in values.items()
    )
    assert read["row"].flags.aligned
    assert read["row"].flags.writeable


def test_what_is_cut_or_altered_is_left_to_the_other_reader(saved, tmp_path):
    _, folder = saved
    where = dict(locations(folder))["row"]
    start, length = int(where.start_idx), int(where.length)
    with open(where.event_file_name, "rb") as file:
        file.seek(start)
        record = file.read(length)
    path = tmp_path / "events"

    path.write_bytes(record)
    assert len(stored.read(str(path), 0, length)) == 300_000
    for cut in (0, 5, 20, 60, 1000, length - 1000):
        path.write_bytes(record[:cut])
        with pytest.raises(stored.UnusualError):
            stored.read(str(path), 0, length)
    for at in range(120):  # every byte before the values, and some of them
        path.write_bytes(record[:at] + bytes([record[at] ^ 0x5A]) + record[at + 1 :])
        with suppress(stored.UnusualError):
            stored.read(str(path), 0, length)
            assert at >= stored.PREFIX_BYTES
    lie = (length + 7).to_bytes(8, "little")
    path.write_bytes(lie + masked_crc32c(lie).to_bytes(4, "little") + record[12:])
    with pytest.raises(stored.UnusualError):
        stored.read(str(path), 0, length)


def test_words_are_left_to_the_other_reader(tmp_path):
    folder = save(tmp_path / "tensors", {"words": np.array(["ant", "bee"])})
    [(_, where)] = locations(folder)

    with pytest.raises(stored.UnusualError):
        stored.read(where.event_file_name, int(where.start_idx), int(where.length))
    assert [*Tensors(folder).tensor("words").value(0)] == ["ant", "bee"]
