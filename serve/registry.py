"""Which models are up: one registry, whether the server has one model or many."""

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from serve.budget import Size
from serve.entry import Entry
from serve.refusal import BusyError, ConflictError, MissingError, PayloadError

LOADING, UP, GOING = "loading", "up", "going"
GOING_SECONDS = 60.0
"""How long a model is waited for that is on its way out."""


@dataclass(eq=False)
class Slot:
    """A name that is taken: by a model that is up, that is loading, or that is going."""

    name: str
    url: str
    """As the platform said it."""
    size: Size | None = None
    """Not of the model of a server that has one: it is loaded without a budget."""
    state: str = LOADING
    promised: int = 0
    """Bytes that it may take."""
    entry: Entry | None = None
    """None while it waits for its turn to load."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Unloaded while it was loading: who loads it ends it."""
    gone: threading.Event = field(default_factory=threading.Event)

    def as_dict(self) -> dict[str, str]:
        return {"modelName": self.name, "modelUrl": self.url}


class Registry:
    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}
        self._changed = threading.Condition()

    def add(self, entry: Entry) -> None:
        """The one model of a server that has one."""
        with self._changed:
            self._slots[entry.name] = Slot(entry.name, str(entry.url), state=UP, entry=entry)

    def only(self) -> Entry:
        """The model of a server that has one."""
        with self._changed:
            (slot,) = self._slots.values()
        assert slot.entry is not None
        return slot.entry

    def take(self, slot: Slot, weigh: Callable[[list[Slot]], None]) -> None:
        """Takes the slot's name for a model that will be loaded; one of that name that is going is
        waited for. `weigh` is given what holds memory, and raises where there is not enough.

        Raises ConflictError where the name is taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._state(slot.name) != GOING, GOING_SECONDS)
            state = self._state(slot.name)
            if state == GOING:
                raise BusyError(f"model {slot.name!r} is still being unloaded")
            if state is not None:
                said = "already loaded" if state == UP else "being loaded"
                raise ConflictError(f"model {slot.name!r} is {said}; unload it first")
            weigh(list(self._slots.values()))
            self._slots[slot.name] = slot

    def up(self, slot: Slot) -> bool:
        """Whether it may be used now: not where it was unloaded while it was loading."""
        with self._changed:
            if slot.state == LOADING:
                slot.state = UP
            return slot.state == UP

    def leave(self, name: str) -> Slot:
        """A model that shall go; nobody finds it from here on. One that is loading is cancelled.
        Raises MissingError."""
        with self._changed:
            slot = self._slots.get(name)
            if slot is None or slot.state == GOING:
                raise _missing(name, slot)
            if slot.state == LOADING:
                slot.cancelled.set()
            slot.state = GOING
            return slot

    def remove(self, slot: Slot) -> None:
        with self._changed:
            if self._slots.get(slot.name) is slot:
                del self._slots[slot.name]
            slot.gone.set()
            self._changed.notify_all()

    def find(self, name: str) -> Slot:
        """A model that is up. Raises MissingError."""
        with self._changed:
            slot = self._slots.get(name)
            if slot is None or slot.state != UP:
                raise _missing(name, slot)
            return slot

    def page(self, after: str, limit: int) -> tuple[list[Slot], str]:
        """Models that are up, by name, behind the one that the token `after` names; and the token
        of the next page, empty behind the last. Raises PayloadError for a token that is none."""
        last = _name(after)
        with self._changed:
            names = sorted(name for name, slot in self._slots.items() if slot.state == UP)
            # names and not places: models come and go between two pages
            rest = [name for name in names if name > last] if after else names
            page = [self._slots[name] for name in rest[:limit]]
        return page, _token(page[-1].name) if len(rest) > limit else ""

    def slots(self) -> list[Slot]:
        with self._changed:
            return list(self._slots.values())

    def entries(self) -> list[Entry]:
        """Models that are up."""
        return [slot.entry for slot in self.slots() if slot.entry and slot.state == UP]

    def close(self) -> None:
        """The server is ending: the engines go first."""
        entries = [slot.entry for slot in self.slots() if slot.entry]
        for entry in entries:
            entry.end()
        for entry in entries:
            entry.close("the server is ending")

    def _state(self, name: str) -> str | None:
        slot = self._slots.get(name)
        return slot.state if slot else None


def _missing(name: str, slot: Slot | None) -> MissingError:
    words = {LOADING: ": it is being loaded", GOING: ": it is being unloaded"}
    why = words.get(slot.state, "") if slot else ""
    return MissingError(f"model {name!r:.200} is not loaded{why}")


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _name(token: str) -> str:
    try:
        return base64.b64decode(token, b"-_", validate=True).decode()
    except ValueError:
        raise PayloadError(f"next_page_token={token!r:.80} is none of this server's") from None
