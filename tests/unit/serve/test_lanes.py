"""What becomes of requests, and of the engine, where a lane itself fails."""

import threading
import time

import numpy as np
import pytest

from serve.batcher import Batcher
from serve.engine.control import Loaded
from serve.engine.lanes import Lanes
from serve.engine.process import EngineLostError
from serve.refusal import BusyError


class Engine:
    """Answers, but for the batch with that number, of which nobody foresaw what happens."""

    loaded = Loaded("openvino-int8", "cpu", 0.1, 1, 2)
    lanes = 2

    def __init__(self, bad):
        self.bad, self.seen = bad, 0
        self.lost = None

    def classify(self, images, classes, lane, labels):
        self.seen += 1
        if self.seen == self.bad:
            raise MemoryError("not foreseen")
        return np.full((len(images), classes), 0.5, np.float32)

    def lose(self, reason):
        self.lost = self.lost or reason
        self.batcher.wake()


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_an_accident_in_a_lane_is_the_engines_loss_and_leaves_nobody_waiting(bad, caplog):
    batcher, engine, ended = Batcher(10), Engine(bad), []
    engine.batcher = batcher
    batcher.open()

    def run():
        try:
            Lanes(engine, batcher, 2, 3, lambda: False).run()
        except EngineLostError as error:
            ended.append(str(error))

    keeper = threading.Thread(target=run)
    keeper.start()
    photo = np.zeros((2, 2, 3), np.uint8)
    for _ in range(bad - 1):
        assert len(batcher.classify([photo], time.monotonic() + 5)) == 1
    with pytest.raises(BusyError, match="started again after a failure"):
        batcher.classify([photo], time.monotonic() + 5)
    keeper.join(5)

    assert ended == ["a batch failed outside the engine: MemoryError"]
    assert "not foreseen" in caplog.text
