"""Files of a source that are no photos: counted, and the first few named; there may be millions."""

from pages.markup import shown

NAMED = 5


class LeftOut:
    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(shown(name))

    def tell(self, notes: list[str], split: str, what: str) -> None:
        """A note, where there are any. `what` says of which kind they are."""
        if self.count:
            more = ", ..." if self.count > NAMED else ""
            notes.append(f"{split}: {self.count} {what}: {', '.join(self.first)}{more}")
