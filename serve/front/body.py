"""A body on its way: as many bytes as its head declares, bounded, in one buffer."""

import io

from serve.refusal import TooLargeError


class Body:
    """`buffer` holds what has come. Memory grows with what was sent, not with what was promised."""

    def __init__(self, limit: int, length: int) -> None:
        """Both in bytes. Raises TooLargeError where the declared length is above the limit."""
        self.limit = limit
        self.declared: int | None = length
        self.received = 0
        self.buffer = io.BytesIO()
        self.whole = length == 0
        if length > limit:
            raise self.too_large()

    def feed(self, data: memoryview) -> int:
        """How many of these bytes belong to this body; the others are the next request's."""
        piece = data[: (self.declared or 0) - self.received]
        self.buffer.write(piece)
        self.received += len(piece)
        if self.received == self.declared:
            self.finish()
        return len(piece)

    def finish(self) -> None:
        self.declared = self.received
        self.whole = True
        self.buffer.seek(0)

    def too_large(self) -> TooLargeError:
        said = f"{self.declared:,} bytes were sent" if self.declared else "more was sent, in chunks"
        return TooLargeError(
            f"a body may have {self.limit:,} bytes, {said}; send encoded photos, not their pixels",
            limit=self.limit,
            received=self.declared,
        )
