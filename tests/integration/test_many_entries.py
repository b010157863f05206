"""A list of very many entries: the memory of all processes together stays bounded."""

import os
import subprocess
import sys

from tests.tree import COLOURS, ROOT, photo

ENTRIES = 1_000_000 if os.environ.get("SOAK") == "1" else 200_000
MOST = 300 << 20
"""Bytes that the index may add, in the training process and its workers, at a million entries."""

PROGRAM = """
import itertools, pathlib, sys
import psutil
from artifact.preprocess import Preprocessing
from train import channels
from train.batches import Loader, Photos, Plan

def memory():
    # without the libraries' files: a process's share of one depends on who else maps it
    me = psutil.Process()
    processes = [me, *me.children(recursive=True)]
    kilobytes = 0
    for each in processes:
        lines = pathlib.Path(f"/proc/{each.pid}/smaps_rollup").read_text().splitlines()[1:]
        shares = dict(line.split(":") for line in lines)
        kilobytes += sum(int(shares[kind].split()[0]) for kind in ("Pss_Anon", "Pss_Shmem"))
    return kilobytes * 1024, len(processes)

def trained(folder):
    splits = channels.read({"train": folder, "validation": few}, 0)
    photos = Photos(splits.train, Preprocessing.for_size(32), "crop", 0)
    loader = Loader(photos, 32, 32, Plan(2, 2), pin=False, stay=True)
    batches = loader.epoch(0)
    images = sum(len(batch.targets) for batch in itertools.islice(batches, 50))
    found = *memory(), images, len(splits.train)
    batches.close()
    return found

few, many = map(pathlib.Path, sys.argv[1:])
trained(few)
print(*trained(few))
print(*trained(many))
"""


def fill(folder, entries):
    """Of a few photos, again and again."""
    (folder / "images").mkdir(parents=True)
    names = []
    for at, (label, colour) in enumerate(COLOURS.items()):
        names.append((f"images/a-photo-of-{label}.jpg", label))
        (folder / names[-1][0]).write_bytes(photo(colour, at))
    with (folder / "photos.csv").open("w") as file:
        file.write("path,label\n")
        file.writelines(",".join(names[at % len(names)]) + "\n" for at in range(entries))


def test_the_index_of_very_many_entries_stays_small_in_all_processes(tmp_path):
    fill(tmp_path / "few", 2000)
    fill(tmp_path / "many", ENTRIES)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "few"), str(tmp_path / "many")],
        cwd=ROOT, capture_output=True, text=True, timeout=500,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    few, many = (list(map(int, line.split())) for line in done.stdout.splitlines())
    assert few[1:] == [3, 1600, 2000]
    assert many[1:] == [3, 1600, ENTRIES]
    assert many[0] - few[0] < MOST * ENTRIES / 1_000_000
