"""Members of tar archives from anybody: `tarfile` trusts the sizes that a header tells."""

import tarfile
from typing import Any

MOST_NAME_BYTES = 1 << 16
"""Of a header that only says a long name or attributes: it is read into memory whole."""
SAYS_OF_THE_NEXT = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip


class CheckedHeader(tarfile.TarInfo):
    """For `tarfile.open(tarinfo=...)`. Headers that would have it go backwards, so for ever, or
    take any memory, raise tarfile.ReadError."""

    @classmethod
    def frombuf(cls, *arguments: Any, **named: Any) -> "CheckedHeader":
        made = super().frombuf(*arguments, **named)
        if made.size < 0:
            raise tarfile.ReadError(f"a member of {made.size} bytes")
        if made.type in SAYS_OF_THE_NEXT and made.size > MOST_NAME_BYTES:
            raise tarfile.ReadError(f"a name or attributes of {made.size} bytes")
        return made
