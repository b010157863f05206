"""Names that are taken, pages of them, and requests that must end before a model goes."""

import threading
import time

import pytest

from serve.refusal import ConflictError, MissingError, PayloadError, ShortageError
from serve.registry import Registry, Slot
from serve.traffic import Traffic


def fits(_: list[Slot]) -> None:
    pass


def up(registry: Registry, name: str) -> Slot:
    slot = Slot(name, f"/models/{name}")
    registry.take(slot, fits)
    assert registry.up(slot)
    return slot


def test_a_name_is_taken_from_the_first_moment_and_found_when_it_is_up() -> None:
    registry, slot = Registry(), Slot("a", "/models/a")
    registry.take(slot, fits)

    with pytest.raises(MissingError, match="is being loaded"):
        registry.find("a")
    with pytest.raises(ConflictError, match="being loaded"):
        registry.take(Slot("a", "/models/a"), fits)
    assert registry.up(slot)
    assert registry.find("a") is slot
    with pytest.raises(ConflictError, match="already loaded"):
        registry.take(Slot("a", "/models/a"), fits)


def test_without_memory_no_name_is_taken() -> None:
    registry = Registry()

    def full(_: list[Slot]) -> None:
        raise ShortageError("too little")

    with pytest.raises(ShortageError):
        registry.take(Slot("a", "/models/a"), full)
    assert registry.slots() == []


def test_a_model_that_goes_while_it_loads_is_never_up() -> None:
    registry, slot = Registry(), Slot("a", "/models/a")
    registry.take(slot, fits)
    registry.leave("a")

    assert slot.cancelled.is_set()
    assert not registry.up(slot)
    with pytest.raises(MissingError, match="being unloaded"):
        registry.leave("a")


def test_a_name_that_is_on_its_way_out_is_waited_for() -> None:
    registry = Registry()
    old = up(registry, "a")
    registry.leave("a")
    threading.Timer(0.1, registry.remove, (old,)).start()
    new = up(registry, "a")

    assert old.gone.is_set()
    assert registry.find("a") is new


def test_pages_have_every_name_once_in_order() -> None:
    registry = Registry()
    names = ["b", "a", "é", "c", "d"]
    for name in names:
        up(registry, name)
    registry.take(Slot("loading", "/models/loading"), fits)
    seen, token = [], ""
    while True:
        page, token = registry.page(token, 2)
        seen.append([slot.name for slot in page])
        if not token:
            break

    assert seen == [["a", "b"], ["c", "d"], ["é"]]
    assert registry.page("", 5)[1] == ""


@pytest.mark.parametrize("token", ["%", "YQ", "/w==", "ä"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(PayloadError, match="next_page_token"):
        Registry().page(token, 1)


def test_a_model_ends_after_its_requests_and_takes_no_more() -> None:
    traffic = Traffic("a")
    with traffic.one():
        assert traffic.idle_seconds() == 0
        assert not traffic.end(0.05)
    time.sleep(0.02)

    assert traffic.end(0)
    assert traffic.idle_seconds() > 0.01
    with pytest.raises(MissingError, match="being unloaded"), traffic.one():
        pass
