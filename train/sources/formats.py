"""The formats, and which of them a channel has: by ContentType, file names and first lines."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from container.failure import ChannelError
from train.sources import augmented, folders, lst, rec, table, tar
from train.sources.listing import Folder
from train.sources.request import Request
from train.sources.samples import Listed


@dataclass(frozen=True)
class Format:
    name: str
    holds: str
    """What one finds in the channel, and where its labels are."""
    read: Callable[[Request], Listed]
    content_types: tuple[str, ...]
    suffixes: tuple[str, ...] = ()
    """Of the files at the top of the channel that hold the list, or the photos."""
    is_list: bool = False


FOLDERS = Format(
    "folders", "one folder of photos per class", folders.read,
    ("application/x-image", "image/jpeg", "image/png"),
)  # fmt: skip
LST = Format(
    "lst", "photos and a `.lst`: index, class number, path, with tabs between; "
    "more class numbers, or 0 and 1 per class, for several labels", lst.read,
    ("application/x-image", "image/jpeg", "image/png"), (".lst",), is_list=True,
)  # fmt: skip
TABLE = Format(
    "csv", "photos and a `.csv`: `path,label`, several labels with `\\|` between, or a column of "
    "0 and 1 per class", table.read, ("text/csv",), (".csv",), is_list=True,
)  # fmt: skip
AUGMENTED = Format(
    "augmented manifest", "photos and a `.manifest` or `.jsonl`: `source-ref` and a label a line; "
    "class names from the label's metadata", augmented.read,
    ("application/jsonlines", "application/x-jsonlines", "application/json-lines"),
    (".manifest", ".jsonl"), is_list=True,
)  # fmt: skip
REC = Format(
    "recordio", "`.rec` files of image records, as im2rec makes them", rec.read,
    ("application/x-recordio",), (".rec",),
)  # fmt: skip
TAR = Format(
    "tar", "`.tar` shards: `key.jpg` with `key.cls`, `key.txt` or `key.json` (webdataset), or one "
    "folder per class", tar.read, ("application/x-tar",),
    (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"),
)  # fmt: skip
FORMATS = (FOLDERS, LST, TABLE, AUGMENTED, REC, TAR)
SUFFIXES = tuple(suffix for each in FORMATS for suffix in each.suffixes)


def read(request: Request) -> Listed:
    """The split, in whichever format it is. Raises ChannelError or DataError."""
    found = _found(request)
    one = _one(request, found)
    return one.read(replace(request, files=found[one]))


def _found(request: Request) -> dict[Format, tuple[str, ...]]:
    """Formats that the channel may have, with their files."""
    folder = request.lists or request.folder
    formats = [each for each in FORMATS if each.is_list] if request.lists else FORMATS
    named = {each: _files(folder, each, request.content_type.name) for each in formats}
    found = {each: files for each, files in named.items() if files}
    classes = [each for each in request.folder.folders if folders.has_photos(each)]
    # one folder beside a list is where its photos lie
    beside = 1 if any(each.is_list for each in found) else 0
    if not request.lists and (len(classes) > beside or not found):
        found[FOLDERS] = ()
    return found


def _files(folder: Folder, kind: Format, content_type: str) -> tuple[str, ...]:
    files = [name for name in folder.files() if name.lower().endswith(kind.suffixes or ("\0",))]
    told = content_type in kind.content_types
    if kind is TABLE and not told:
        files = [name for name in files if table.is_list(folder.path / name)]
    if kind is AUGMENTED:
        files = [name for name in files if augmented.is_list(folder.path / name)]
    return tuple(files)


def _one(request: Request, found: dict[Format, tuple[str, ...]]) -> Format:
    """Raises ChannelError where there are several, or none."""
    told = [each for each in FORMATS if request.content_type.name in each.content_types]
    fitting = [each for each in found if each in told] or list(found)
    if len(fitting) == 1:
        _check_told(request, told, fitting[0])
        return fitting[0]
    if not fitting:
        raise ChannelError(
            f"the {request.split} list's channel has no list",
            f"put one file with the end {', '.join(_ends(told or FORMATS))} into it",
        )
    seen = "; ".join(f"{each.name}: {', '.join(found[each][:3]) or 'class folders'}"
                     for each in fitting)  # fmt: skip
    types = [each.content_types[0] for each in fitting]
    told_by = [f"{kind} for {each.name}" for kind, each in zip(types, fitting, strict=True)
               if types.count(kind) == 1]  # fmt: skip
    raise ChannelError(
        f"the {request.split} channel may be read in {len(fitting)} ways ({seen})",
        (f"set the channel's ContentType ({', '.join(told_by)}), or " if told_by else "")
        + f"give a list in a channel of its own, {request.split}_lst",
    )


def _check_told(request: Request, told: list[Format], found: Format) -> None:
    if told and found not in told and not request.lists:
        raise ChannelError(
            f"the {request.split} channel's ContentType is {request.content_type.name}, and it "
            f"holds {found.name}",
            f"set the ContentType to {found.content_types[0]}, or put "
            f"{' or '.join(each.holds for each in told)} into the channel",
        )


def _ends(formats: "list[Format] | tuple[Format, ...]") -> list[str]:
    return [suffix for each in formats if each.is_list for suffix in each.suffixes]
