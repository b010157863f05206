"""The hook itself: steps in, records out, and nothing that goes wrong here reaches the training."""

import atexit
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from debugger.hook import Pass, Place, cost, names
from debugger.hook.budget import Budget
from debugger.hook.capture import Capture
from debugger.hook.files import Files
from debugger.hook.plan import Plan
from debugger.hook.record import Record
from debugger.hook.settings import Collection, Settings
from debugger.hook.writer import Background


class TensorHook:
    """Fulfils `debugger.hook.Hook`."""

    def __init__(
        self, settings: Settings, place: Place, budget: float, say: Callable[[str], None]
    ) -> None:
        self.unmatched: list[str] = []
        self._settings, self._place, self._say = settings, place, say
        self.budget = Budget(budget)
        self.errors = 0
        self.state = "on"
        self._off = self._closed = False
        self._depth = 0
        self._saving: str | None = None
        self._began: float | None = None
        self._last = "TRAIN"
        self._updates = self._evaluated = 0

    def register(
        self,
        network: nn.Module,
        criterion: nn.Module,
        optimizer: torch.optim.Optimizer,
        updates: int = 0,
        evaluated: int = 0,
    ) -> None:
        self._updates, self._evaluated = updates, evaluated
        self._call(self._register, network, criterion, optimizer)
        self.budget.started()
        atexit.register(self._job_failed)

    def _register(
        self, network: nn.Module, criterion: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        settings = self._settings
        self.plan = Plan(settings.collections, names.inner(network), criterion, self._say)
        self.unmatched = self.plan.unmatched
        files = Files(settings, self.plan.collections, self._place.resumed, self._place.first_here)
        self._files = files
        self._capture = Capture(
            network, criterion, optimizer, self.plan, settings.tensorboard is not None, self._call
        )
        self._writer: Background[Record] = Background(files.write, self._wrote)
        listed = ", ".join(each.name for each in self.plan.collections)
        self._say(f"debugger: {listed} from {settings.source}, tensors in {files.folder}")

    def cached(self, trained: nn.Module) -> None:
        self._call(lambda: self._capture.cached(trained))

    def update_begins(self, step: int, whole: Pass | None = None) -> None:
        self._began = time.perf_counter()
        self._call(self._update_begins, step, whole)

    def _update_begins(self, step: int, whole: Pass | None) -> None:
        self._capture.end()
        self._saving = None
        self._updates = step
        self._begin(Record("TRAIN", step, step + self._evaluated), 1, whole)

    def update_done(self) -> None:
        self._call(self._finish)
        if self._began is not None:
            self.budget.steps[self._saving is not None].append(time.perf_counter() - self._began)
            self._updates += 1
        self._saving = self._began = None

    def evaluation_begins(self, batches: int, whole: Pass | None = None) -> None:
        self._call(self._evaluation_begins, batches, whole)

    def _evaluation_begins(self, batches: int, whole: Pass | None) -> None:
        self._capture.end()
        self._saving = None
        first = self._evaluated
        record = Record("EVAL", first, first + self._updates)
        self._begin(record, max(1, batches), whole)
        self._evaluated += max(1, batches)

    def evaluation_done(self) -> None:
        self._call(self._finish)
        self._saving = None

    def _begin(self, record: Record, count: int, whole: Pass | None) -> None:
        mode = record.mode
        widening = self.budget.of(mode).widening
        due = self.plan.due(mode, record.mode_step, count, widening)
        if not due or not self._affordable(record, due):
            return
        self._saving = mode
        self._capture.begin(record, due)
        if whole is not None and self._capture.needs_whole(due):
            whole()

    def _affordable(self, record: Record, due: tuple[Collection, ...]) -> bool:
        interval = min(each.when[record.mode].interval for each in due)
        allowed, widened = self.budget.allows(record.mode, record.mode_step, interval)
        if widened:
            self._say(
                f"debugger: saving every {interval} steps would cost more than debug_budget="
                f"{self.budget.percent:g} % of the job's time ({self.budget.used:.1f} % so far): "
                f"every {interval * widened} {record.mode} steps from here on"
            )
        return allowed

    def _finish(self) -> None:
        record = self._capture.finish()
        if record is not None:
            self._last = record.mode
            self.budget.saved(record.mode, record.mode_step, record.nbytes)
            self.budget.of(record.mode).waited += self._writer.put(record)

    def _wrote(self, record: Record, seconds: float) -> None:
        self.budget.wrote(record.mode, record.nbytes, seconds)

    @property
    def folder(self) -> Path:
        return self._settings.tensors

    def close(self, failed: bool = False) -> None:
        atexit.unregister(self._job_failed)
        self._call(self._end, failed)
        self._done()

    def _job_failed(self) -> None:
        """As the process ends without a word: readers need not wait for more."""
        self.close(failed=True)

    def _end(self, failed: bool) -> None:
        if failed and self._saving is not None:
            self._finish()
        self._capture.end()

    def _done(self) -> None:
        if self._closed:
            return
        self._closed = True
        for step in (self._written, self._ended):
            self._call(step)
            if self._off:
                with suppress(Exception):  # what is there stays readable
                    step()
        self._off = True
        line = cost.line(self.budget, self.state)
        self._say(f"debugger: {line}")
        if self._place.rank == 0:
            cost.write(self._place.cost, self)

    def _written(self) -> None:
        self.budget.of(self._last).waited += self._writer.close()

    def _ended(self) -> None:
        self._files.close()

    def _call(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Every way into the hook: guarded, and on the clock."""
        if self._off:
            return
        started = time.perf_counter()
        self._depth += 1
        try:
            call(*arguments)
        except Exception as error:
            self._fail(error)
        finally:
            self._depth -= 1
            if not self._depth:  # a listener within a pass of ours is on that one's clock
                seconds = time.perf_counter() - started
                self.budget.spend(seconds, self._saving)
                self._place.spent(seconds)

    def _fail(self, error: Exception) -> None:
        self._off = True
        self.errors += 1
        reason = f"{type(error).__name__}: {error}"
        self.state = f"turned off: {reason}"
        self._say(
            f"debugger: hook turned off: {reason}\n"
            + "".join(traceback.format_exception(error)).rstrip()
        )
        if hasattr(self, "_capture"):
            self._capture.end()
