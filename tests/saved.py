"""Tensors written by smdebug itself into a folder, value by value: what rules are tested on."""

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from debugger.reader import CollectionManager

# once the line above has loaded smdebug, its warnings are spent
from smdebug.core.modes import ModeKeys  # isort: skip
from smdebug.core.writer import FileWriter  # isort: skip

REGEXES = {
    "weights": "^(?!gradient).*weight",
    "biases": "^(?!gradient).*bias",
    "gradients": "^gradient",
    "losses": "[Ll]oss_(?!input).*output",
}


@contextmanager
def quietly():
    """smdebug calls what numpy and Python have deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Saved:
    """A job's tensors: `add` writes one step, in the order given."""

    def __init__(self, folder: Path, collections: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.step = 0
        self.mode_steps = {"TRAIN": 0, "EVAL": 0, "GLOBAL": 0}
        manager = CollectionManager()
        for name, regex in {**REGEXES, **(collections or {})}.items():
            manager.get(name).include(regex)
        with quietly():
            manager.export(str(folder), "worker_0_collections.json")

    def add(self, mode: str = "TRAIN", at: int | None = None, **named: Any) -> int:
        """One step; `at` is its global number. Names with dots go through `tensors`."""
        return self.save(named, mode, at)

    def save(self, tensors: dict[str, Any], mode: str = "TRAIN", at: int | None = None) -> int:
        step = self.step if at is None else at
        mode_step = self.mode_steps[mode] + (step - self.step)
        with quietly():
            writer = FileWriter(trial_dir=str(self.folder), step=step, worker="worker_0")
            for name, value in tensors.items():
                array = np.asarray(value)
                array = array.astype(np.float32) if array.dtype == np.float64 else array
                writer.write_tensor(
                    tdata=array, tname=name, mode=ModeKeys[mode], mode_step=mode_step
                )
            writer.close()
        self.step, self.mode_steps[mode] = step + 1, mode_step + 1
        return step

    def skip(self, steps: int, mode: str = "TRAIN") -> None:
        """Steps that were taken and not saved."""
        self.step += steps
        self.mode_steps[mode] += steps
