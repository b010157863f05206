"""Faults planted in an engine process from outside: a `sitecustomize` that wraps the engine.

Python imports a module of that name at its start if a folder of PYTHONPATH has one. Nothing of the
product knows of this; the folder may as well be mounted into a container.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRAP = """
import importlib.abc, importlib.util, sys, time

ENGINES = {
    "serve.engine.torch": "TorchEngine",
    "artifact.compiled": "CompiledClassifier",
}


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        engine = ENGINES.pop(name, None)  # asked again below, this one is not in the way
        if engine is None:
            return None
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            plant(getattr(module, engine))

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())


def plant(engine):
    begin, classify = engine.__init__, engine.classify
    setattr(engine, "classify", lambda self, batch: before(batch) or classify(self, batch))
    setattr(engine, "__init__", lambda self, *words: at_start() or begin(self, *words))


def at_start():
    pass


def before(batch):
    pass
"""

GUILTY = """
def before(batch):
    lightest, darkest = batch.min(axis=(1, 2, 3)), batch.max(axis=(1, 2, 3))
    if (lightest == 255).any():
        raise RuntimeError("a white photo")
    if (darkest < 5).any() and darkest.any():
        raise RuntimeError("CUDA error: device-side assert triggered")
"""
"""A white photo breaks its batch; a nearly black one breaks the device."""

LEAK = """
kept = []

def before(batch):
    kept.append(bytearray(LEAK_BYTES * len(batch)))
"""

SLOW_START = """
def at_start():
    time.sleep(SECONDS)
"""

HELD = """
import pathlib

hold = pathlib.Path(__file__).with_name("hold")

def before(batch):
    while hold.exists():
        time.sleep(0.01)
"""
"""A batch takes as long as `held` says; the engine shows all the same that it is alive."""


def plant(folder: Path, fault: str, **values: int) -> str:
    """Writes the fault, with its capital names as in `values`; returns what PYTHONPATH needs."""
    folder.mkdir(parents=True, exist_ok=True)
    named = "".join(f"{name} = {value}\n" for name, value in values.items())
    (folder / "sitecustomize.py").write_text(WRAP + named + fault)
    return str(folder)


@contextmanager
def held(planted: str) -> Iterator[None]:
    """No batch of an engine with the fault HELD ends meanwhile; ten seconds of it are too many."""
    hold = Path(planted) / "hold"
    hold.touch()
    try:
        yield
    finally:
        hold.unlink()
