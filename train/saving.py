"""When a run's checkpoints are made: at the end of an epoch, after so many minutes, at a stop."""

import copy
import time
from collections.abc import Callable

from train.checkpoint import Store, Tensors
from train.loop import State
from train.writer import Writer

SLOWEST_BYTES_PER_SECOND = 1 << 20
"""A volume slower than this counts as one that hangs."""


class Saving:
    """Copies the run between two updates, has the copy written in the background, and raises in the
    training thread what went wrong there. Without a store it does nothing.

    `expect` is told for how many seconds the training thread may stand still, waiting for the disk.
    """

    def __init__(
        self,
        store: Store | None,
        minutes: float,
        collect: Callable[[], Tensors],
        expect: Callable[[float], None],
    ) -> None:
        self.writer = Writer()
        self._store = store
        self._seconds = minutes * 60
        self._collect = collect
        self._expect = expect
        self._bytes = 0
        self._saved_at = self._epoch_at = time.monotonic()

    def update_done(self, state: State, best: Tensors | None, steps: int) -> None:
        """The last update of an epoch waits for what follows it: the epoch's end saves too."""
        self.writer.check()
        late = time.monotonic() - self._saved_at >= self._seconds
        if self._seconds and late and state.step_in_epoch < steps:
            self._save(state, best)

    def epoch_done(self, state: State, best: Tensors | None) -> None:
        """Returns once the epoch is on the disk; epochs quicker than a write, which would spend
        more time waiting than training, are written as they come, the newest first."""
        self._save(state, best)
        epoch, self._epoch_at = time.monotonic() - self._epoch_at, time.monotonic()
        if epoch >= self.writer.seconds:
            self._drain()

    def stop(self, state: State, best: Tensors | None) -> None:
        self._save(state, best)
        self.finish()

    def finish(self) -> None:
        self._drain()
        if self._store is not None:
            self._store.close()

    def _save(self, state: State, best: Tensors | None) -> None:
        if (store := self._store) is None:
            return
        state, tensors = copy.deepcopy(state), self._collect()
        self._bytes = sum(each.nbytes for each in [*tensors.values(), *(best or {}).values()])
        self._saved_at = time.monotonic()
        self.writer.put(lambda: store.save(state, tensors, best))

    def _drain(self) -> None:
        # the one under way, too
        self._expect(2 * self._bytes / SLOWEST_BYTES_PER_SECOND)
        self.writer.drain()
