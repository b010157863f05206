"""Batches on their way through one engine: as many at a time as it computes side by side.

A lane is a thread that takes what waits, asks the engine and hands out the answers. Nothing lies
in a lane while it waits for the engine: what has not been taken makes a larger next batch.
"""

import threading
from collections.abc import Callable

from serve import batcher as batching
from serve.batcher import Batcher, Ticket
from serve.engine.process import EngineLostError, EngineProcess
from serve.engine.wire import BatchError
from serve.refusal import PayloadError


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
        beside = [
            threading.Thread(target=self._lane, args=(lane,), daemon=True)
            for lane in range(1, self._child.lanes)
        ]
        for thread in beside:
            thread.start()
        self._lane(0)
        for thread in beside:
            thread.join()
        if self._child.lost is not None:
            raise EngineLostError(self._child.lost)

    def _over(self) -> bool:
        return self._child.lost is not None or self._stop()

    def _lane(self, lane: int) -> None:
        while tickets := self._batcher.take(self._most, self._over):
            try:
                self._answer(lane, tickets)
            except EngineLostError as error:
                batching.fail(tickets, str(error))

    def _answer(self, lane: int, tickets: list[Ticket]) -> None:
        """Halves a batch that fails, until each guilty photo stands alone with its error."""
        try:
            images = [each.image for each in tickets]
            rows = self._child.classify(images, self._classes, lane, labels(tickets))
        except BatchError as error:
            if len(tickets) == 1:
                guilty = PayloadError(f"the model cannot classify this photo: {error}")
                return batching.resolve(tickets, [guilty])
            middle = len(tickets) // 2
            self._answer(lane, tickets[:middle])
            return self._answer(lane, tickets[middle:])
        return batching.resolve(tickets, rows)


def labels(tickets: list[Ticket]) -> list[int] | None:
    """Those whose maps a batch asks for; it asks for all or for none."""
    asked = [each.request.label for each in tickets]
    return None if asked[0] is None else [each for each in asked if each is not None]
