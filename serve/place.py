"""Where a model that the platform names may lie: below its own folder of models, and nowhere else.

Archives come from anywhere. A path that leaves the folder, or a link in an unpacked archive that
leads out of it, would make the server read, and tell about, files of the container.
"""

import os
import unicodedata
from pathlib import Path

from serve.refusal import MissingError, PayloadError

MAX_NAME_CHARACTERS = 256
MAX_URL_CHARACTERS = 4096
MAX_FILES = 10_000
"""Of a model's folder; an artifact has fewer than ten."""


def name_of(value: object) -> str:
    """A model's name is the platform's own word, in practice a hash: any one that can be a part of
    a path and of a log line. Raises PayloadError."""
    fits = isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARACTERS
    if not fits or value in (".", "..") or not all(_plain(each) for each in str(value)):
        raise PayloadError(
            f"model_name={value!r:.80}: expected 1 to {MAX_NAME_CHARACTERS} characters, none of "
            "them a slash, a space or a control character"
        )
    return str(value)


def _plain(character: str) -> bool:
    return character != "/" and unicodedata.category(character)[0] not in "ZC"


def folder_of(url: object, models: Path) -> Path:
    """The folder, without links. Raises PayloadError where it is not below `models`, MissingError
    where there is none."""
    if not isinstance(url, str) or not 0 < len(url) <= MAX_URL_CHARACTERS or "\0" in url:
        raise PayloadError(f"url={url!r:.80}: expected the path of an unpacked model")
    named = Path(url)
    if not named.is_absolute() or ".." in named.parts:
        raise PayloadError(f"url={url!r:.200}: expected an absolute path without '..'")
    # named first: what there is elsewhere is nobody's business
    if not _below(named, models):
        raise PayloadError(f"url={url!r:.200}: models lie below {models}, and nowhere else")
    try:
        folder = named.resolve(strict=True)
    except (OSError, RuntimeError):
        raise MissingError(f"url={url!r:.200}: no such folder") from None
    if not _below(folder, models.resolve()):
        raise PayloadError(f"url={url!r:.200}: a link leads out of {models}")
    if not folder.is_dir():
        raise PayloadError(f"url={url!r:.200}: a file; expected the folder it was unpacked to")
    _check_links(folder)
    return folder


def _below(path: Path, folder: Path) -> bool:
    return path != folder and path.is_relative_to(folder)


def _check_links(folder: Path) -> None:
    seen = 0
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            seen += 1
            path = Path(parent, name)
            if seen > MAX_FILES:
                raise PayloadError(f"{folder} holds more than {MAX_FILES:,} files: no artifact")
            if path.is_symlink() and not _stays(path, folder):
                inside = path.relative_to(folder)
                raise PayloadError(f"{inside} of {folder} is a link that leads out of it")


def _stays(link: Path, folder: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(folder)
    except (OSError, RuntimeError):
        return False
