"""Batches on their way through one engine: as many at a time as it computes, and those up next.

A lane is a thread that takes what waits, asks the engine and hands out the answers. Nothing but a
full batch is sent before the engine is free: what has not been taken makes a larger next one.
"""

import logging
import threading
from collections.abc import Callable

from serve import batcher as batching
from serve.batcher import Answer, Batcher, Station, Ticket
from serve.engine.process import EngineLostError, EngineProcess
from serve.engine.wire import BatchError
from serve.refusal import PayloadError

log = logging.getLogger("serve.engine")


class Lanes:
    """Of one engine, from when it is proven until `stop` says so or it is lost."""

    def __init__(
        self,
        child: EngineProcess,
        batcher: Batcher,
        most: int,
        classes: int,
        stop: Callable[[], bool],
    ) -> None:
        self._child, self._batcher = child, batcher
        self._most, self._classes, self._stop = most, classes, stop

    def run(self) -> None:
        """Returns once no batch is on its way any more. Raises EngineLostError."""
        assert self._child.loaded is not None
        with self._batcher.station(self._child.loaded.streams) as station:
            beside = [
                threading.Thread(target=self._lane, args=(lane, station), daemon=True)
                for lane in range(1, self._child.lanes)
            ]
            for thread in beside:
                thread.start()
            self._lane(0, station)
            for thread in beside:
                thread.join()
        if self._child.lost is not None:
            raise EngineLostError(self._child.lost)

    def _over(self) -> bool:
        return self._child.lost is not None or self._stop()

    def _lane(self, lane: int, station: Station) -> None:
        try:
            while tickets := self._batcher.take(station, self._most, self._over):
                self._batch(lane, station, tickets)
        except Exception as error:  # without this lane requests would wait, and /ping be green
            log.exception("a lane failed")
            self._child.lose(f"a batch failed outside the engine: {type(error).__name__}")

    def _batch(self, lane: int, station: Station, tickets: list[Ticket]) -> None:
        try:
            answers = self._answers(lane, tickets)
        except EngineLostError as error:
            batching.fail(tickets, str(error))
        except BaseException:
            batching.fail(tickets, "the engine is started again after a failure")
            raise
        else:
            # first: the engine's next batch need not wait until these are handed out
            self._batcher.give_back(station)
            batching.resolve(tickets, answers)

    def _answers(self, lane: int, tickets: list[Ticket]) -> list[Answer]:
        """Halves a batch that fails, until each guilty photo stands alone with its error."""
        try:
            images = [each.image for each in tickets]
            return list(self._child.classify(images, self._classes, lane, labels(tickets)))
        except BatchError as error:
            if len(tickets) == 1:
                return [PayloadError(f"the model cannot classify this photo: {error}")]
            middle = len(tickets) // 2
            return [
                *self._answers(lane, tickets[:middle]),
                *self._answers(lane, tickets[middle:]),
            ]


def labels(tickets: list[Ticket]) -> list[int] | None:
    """Those whose maps a batch asks for; it asks for all or for none."""
    asked = [each.request.label for each in tickets]
    return None if asked[0] is None else [each for each in asked if each is not None]
