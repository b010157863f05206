"""Mistakes of one list, collected: a file with many is refused once, and names the first few."""

from container.failure import DataError

SHOWN = 10


class Problems:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0

    def add(self, where: str, what: object) -> None:
        self.count += 1
        if len(self.lines) < SHOWN:
            self.lines.append(f"{where}: {what}")

    def check(self, file: str, fix: str) -> None:
        """Raises DataError where there is one."""
        if self.count:
            raise DataError(f"{file}: {self.count} entries cannot be used", fix, self.lines)
