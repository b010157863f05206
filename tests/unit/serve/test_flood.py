"""Lines of refusals: the first is said, the others are counted."""

import logging
import threading

from serve.flood import MOST_KINDS, Flood


class Heard(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []
        self.more = threading.Condition()

    def emit(self, record):
        with self.more:
            self.lines.append(record.getMessage())
            self.more.notify()

    def wait(self, count):
        with self.more:
            assert self.more.wait_for(lambda: len(self.lines) >= count, 5), self.lines
            return list(self.lines)


def listening(name):
    log, heard = logging.getLogger(name), Heard()
    log.propagate = False
    log.setLevel("INFO")
    log.addHandler(heard)
    return log, heard


def test_the_first_of_a_kind_is_a_line_and_the_others_are_a_count():
    log, heard = listening("flood.count")
    flood = Flood(log, 2.0)
    for waiting in range(1000):
        flood.say(f"{waiting} images wait", f"503 id={waiting}")
    flood.say("no engine is ready", "503 id=x")

    lines = heard.wait(3)
    assert lines[:2] == ["503 id=0", "503 id=x"]
    assert lines[2] == "999 more in 2 s: N images wait"


def test_a_kind_that_has_been_quiet_is_said_again():
    log, heard = listening("flood.quiet")
    flood = Flood(log, 0.05)
    flood.say("busy", "one")
    flood.say("busy", "counted")
    heard.wait(2)
    while len(heard.lines) == 2:
        flood.say("busy", "again")

    assert heard.lines[2] == "again" or heard.lines[2].endswith("more in 0 s: busy")


def test_kinds_that_never_repeat_do_not_fill_the_log():
    log, heard = listening("flood.kinds")
    flood = Flood(log, 60)
    for number in range(10 * MOST_KINDS):
        kind = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        flood.say(kind, f"503: {kind}")

    assert len(heard.lines) == MOST_KINDS + 1
