"""smdebug's hook as the writer of its own files: what its reader, and TensorBoard, find.

Which step is saved, and what of it, is decided elsewhere, so that steps which are not saved cost
nothing; here smdebug is told one step after the other and writes it. Its part that profiles is
kept asleep: it passes text of `profilerconfig.json` to `eval`.
"""

import atexit
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from debugger.hook import histograms
from debugger.hook.record import Record, Saved
from debugger.hook.settings import MODES, Collection, Keep, Settings, When

PROFILER_CONFIG, LOG_LEVEL = "SMPROFILER_CONFIG_PATH", "SMDEBUG_LOG_LEVEL"
END = "training_job_end.ts"
OURS = ("events", "index", "collections")
"""Folders of a run's files."""
CLAIM = "claim.smd"


class Files:
    """In one folder, as one worker."""

    def __init__(
        self, settings: Settings, collections: list[Collection], resumed: bool, first: bool
    ) -> None:
        if first:
            clear(settings.tensors, resumed)
        # what it would say, our own line in the log does
        silence = {} if LOG_LEVEL in os.environ else {LOG_LEVEL: "warning"}
        with _settings({PROFILER_CONFIG: os.devnull, **silence}), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old packages, on import
            import smdebug.pytorch as smd
            from smdebug.core.save_config import SaveConfigMode

            made = _kind(smd.Hook)(
                out_dir=str(settings.tensors),
                export_tensorboard=settings.tensorboard is not None,
                tensorboard_dir=settings.tensorboard and str(settings.tensorboard),
                include_collections=[each.name for each in collections],
                include_workers=settings.workers,
            )
        atexit.unregister(made._cleanup)  # closed by the job, not as the interpreter ends
        self._hook = made
        self._modes = {mode: smd.modes[mode] for mode in MODES}
        for each in collections:
            known = made.collection_manager.get(each.name)
            known.include_regex = list(each.patterns)
            known.save_config = {
                self._modes[mode]: SaveConfigMode(**_steps(when))
                for mode, when in each.when.items()
            }
            known.reduction_config = smd.ReductionConfig(**_reductions(each.keep))
            known.save_histogram = each.histogram
        made._prepare_collections()
        made.prepared_collections = True
        self._known: set[str] = set()

    @property
    def folder(self) -> str:
        found: str = self._hook.out_dir
        return found

    def write(self, record: Record) -> None:
        """One step, whole."""
        hook = self._hook
        hook.mode = self._modes[record.mode]
        hook.step = record.step
        hook.mode_steps[self._modes["GLOBAL"]] = record.step
        hook.mode_steps[hook.mode] = record.mode_step
        hook._initialize_writers()
        for each in record.tensors:
            self._write(each)
        for name, value in record.scalars.items():
            hook.save_scalar(name, np.float32(value))
        hook._close_writers()
        hook.last_saved_step = record.step
        names = {each.name for each in record.tensors}
        if not names <= self._known:  # a reader takes a collection's names from here
            self._known |= names
            hook.export_collections()
            hook.exported_collections = True

    def _write(self, saved: Saved) -> None:
        hook = self._hook
        owners = {hook.collection_manager.get(name) for name in saved.collections}
        for owner in owners:
            owner.add_tensor_name(saved.name)
        if saved.write_shape:
            for writer in hook._get_writers(saved.name):
                step = hook.mode_steps[hook.mode]
                writer.write_shape(saved.name, saved.shape, hook.mode, step)
        for reduction, value in saved.reductions.items():
            name = hook._get_reduction_tensor_name(saved.name, reduction.name, reduction.absolute)
            hook._write_raw_tensor_simple(name, value)
        if saved.value is None:
            return
        hook._write_histogram_summary(saved.name, saved.value, owners)
        if saved.raw:
            hook._write_raw_tensor_simple(saved.name, saved.value)
            hook._write_scalar_summary(saved.name, saved.value, owners)

    def close(self) -> None:
        """Says that the training has ended, to whoever waits for steps."""
        self._hook._cleanup()


def _kind(base: Any) -> Any:
    class Hook(base):  # type: ignore[misc]
        """Of smdebug's, with histograms that a thread beside the training can afford."""

        def _write_histogram_summary(self, name: str, value: torch.Tensor, owners: Any) -> None:
            writer = self._maybe_get_tb_writer()
            drawn = sorted(each.name for each in owners if each.save_histogram)
            made = histograms.summary(f"{drawn[0]}/{name}", value) if drawn and writer else None
            if made is not None:
                writer.write_summary(made, self.step)

    return Hook


def _steps(when: When) -> dict[str, Any]:
    return {
        "save_interval": when.interval,
        "save_steps": list(when.steps),
        "start_step": when.start,
        "end_step": when.end,
    }


def _reductions(keep: Keep) -> dict[str, Any]:
    def chosen(norms: bool, absolute: bool) -> list[str]:
        return [
            each.name
            for each in keep.reductions
            if each.absolute == absolute and (each.name in ("l1", "l2")) == norms
        ]

    return {
        "reductions": chosen(False, False),
        "abs_reductions": chosen(False, True),
        "norms": chosen(True, False),
        "abs_norms": chosen(True, True),
        "save_raw_tensor": keep.raw,
        "save_shape": keep.shape,
    }


def clear(folder: Path, resumed: bool) -> None:
    """Makes the folder this run's: another run's steps would mix with it, what a killed process has
    half written would be added to, and what it had claimed would be nobody's."""
    for name in () if resumed else OURS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (END, CLAIM):
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    for name in OURS:
        for path in (folder / name).glob("**/*.tmp"):
            with suppress(OSError):
                path.unlink()


@contextmanager
def _settings(changed: dict[str, str]) -> Iterator[None]:
    """Environment variables that smdebug reads as it is imported, and as a hook is made."""
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
