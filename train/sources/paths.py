"""Paths and URIs that a list's author wrote -> files of the channel, and never a file elsewhere."""

from train.sources.listing import Folder, Known

LONGEST = 4096


class PathRefusedError(ValueError):
    """The path names no file of the channel; says why."""


class AbsentError(PathRefusedError):
    """The path may name a file of the channel, but there is none."""


class Resolver:
    """Names each file by its path relative to the channel."""

    def __init__(self, folder: Folder) -> None:
        self._known = Known(folder)
        self.channel = folder.name

    def file(self, written: str) -> str:
        """Raises PathRefusedError."""
        if "://" in written:
            return self._object(written)
        path = written.removeprefix("./")
        _check(path)
        if path not in self._known:
            raise AbsentError(f"{written!r:.200} is no file of the channel")
        return path

    def _object(self, uri: str) -> str:
        """The channel has an object below the prefix that the job gave, which the list does not
        know: the longest end of the key that is a file is the one."""
        scheme, _, rest = uri.partition("://")
        if scheme != "s3":
            raise PathRefusedError(f"{uri!r:.200}: only s3:// URIs name files of a channel")
        _, _, key = rest.partition("/")
        _check(key)
        while key:
            if key in self._known:
                return key
            _, _, key = key.partition("/")
        raise AbsentError(f"no end of {uri!r:.200} is a file of the channel")


def _check(path: str) -> None:
    if not path or len(path) > LONGEST or "\0" in path:
        raise PathRefusedError(f"{path!r:.200} is no path")
    if path.startswith("/"):
        raise PathRefusedError(f"{path!r:.200} is an absolute path")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise PathRefusedError(f"{path!r:.200} has an empty, '.' or '..' part")
