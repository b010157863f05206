"""Which split lies where: in a channel of its own, or in folders or files of one channel."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from container.failure import ChannelError
from container.opt_ml import Channel
from pages.markup import shown
from train.schema import nearest
from train.sources.formats import SUFFIXES
from train.sources.listing import Folder, listed

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}
"""Split -> names of its channel, or of its folder or files inside one channel."""

LIST = "_lst"
"""After a channel's name: the channel of the list of its photos, or of its class names."""

MISSPELT = 0.7
"""Similarity from which on a channel's name is a mistake: `vaildation`, `eval`; not `extra`."""

OTHER_CHANNELS = ("pretrained", "model", "code", "sm_drivers")
"""Channels that hold no photos."""


@dataclass(frozen=True)
class Origin:
    """What one split is read from."""

    channel: Channel
    folder: Folder | None
    """None for a pipe."""
    lists: Folder | None = None

    @property
    def sharded(self) -> bool:
        return self.channel.sharded


def empty(path: Path) -> Folder:
    return Folder(path, b"")


def origins(channels: Mapping[str, Channel], notes: list[str]) -> dict[str, Origin]:
    """Split -> where it lies; folders are listed here, and nowhere else. Raises ChannelError."""
    lists = {name: each for name, each in channels.items() if _split_of_list(name)}
    photos = {name: each for name, each in channels.items()
              if name not in OTHER_CHANNELS and name not in lists}  # fmt: skip
    given = _given(photos, "")
    _name_others(photos, notes)
    if "train" not in given and len(photos) == 1:
        name, given["train"] = next(iter(photos.items()))
        notes.append(f"channel {name!r} is the only one, so it is taken for train")
    if "train" not in given:
        names_given = ", ".join(sorted(channels)) or "none"
        raise ChannelError(f"no train channel; channels given: {names_given}")
    found = {split: Origin(each, None if each.piped else listed(each.path))
             for split, each in given.items()}  # fmt: skip
    for split, each in _given(lists, LIST).items():
        if split not in found or each.piped:
            why = "is a pipe" if each.piped else "has no photos: there is no channel of them"
            raise ChannelError(f"the {split} split's list {why}", "give photos and list as folders")
        found[split] = replace(found[split], lists=listed(each.path))
    return _inside_train(found, notes)


def _name_others(photos: Mapping[str, Channel], notes: list[str]) -> None:
    """Channels that nothing is read from. Raises ChannelError where one is a split's, misspelt."""
    known = [name for names in SPLITS.values() for name in names]
    others = sorted(photos.keys() - known) if len(photos) > 1 else []
    misspelt = [f"channel {name!r}{near}" for name in others
                if (near := nearest(name, known, MISSPELT))]  # fmt: skip
    if misspelt:
        raise ChannelError(
            "; ".join(misspelt),
            f"channels of photos are {', '.join(SPLITS)}; rename it, or leave it out",
        )
    if others:
        notes.append(f"channels that are not read: {', '.join(others)}")


def _split_of_list(name: str) -> bool:
    return any(name == known + LIST for names in SPLITS.values() for known in names)


def _given(channels: dict[str, Channel], end: str) -> dict[str, Channel]:
    """Split -> the channel of that name."""
    found = {}
    for split, names in SPLITS.items():
        given = [name + end for name in names if name + end in channels]
        if len(given) > 1:
            raise ChannelError(
                f"channels {' and '.join(given)} both mean the {split} split", "give one of them"
            )
        if given:
            found[split] = channels[given[0]]
    return found


def _inside_train(found: dict[str, Origin], notes: list[str]) -> dict[str, Origin]:
    """With the splits that the train channel holds, if it holds any."""
    train = found["train"]
    if train.folder is None or train.lists is not None:
        return found
    inside, beside = _split_folders(train.folder)
    files = _split_files(train.folder)
    if files and (not inside or not any(folder.folders for folder in inside.values())):
        inside, beside = files, []
    elif files:
        raise ChannelError(
            "the train channel has folders and files for each split: "
            f"{', '.join(folder.name for folder in inside.values())}; "
            f"{', '.join(_packed(train.folder)[:5])}",
            "keep the folders, or the files",
        )
    if not inside:
        return found
    if beside:
        notes.append(f"folders beside the splits ignored: {', '.join(map(shown, beside))}")
    both = sorted((inside.keys() & found.keys()) - {"train"})
    if both:
        raise ChannelError(
            f"{' and '.join(both)}: both a channel and a part of the train channel",
            "give each split once",
        )
    notes.append(f"the train channel holds the splits {', '.join(sorted(inside))}")
    return found | {split: Origin(train.channel, folder) for split, folder in inside.items()}


def _split_folders(folder: Folder) -> tuple[dict[str, Folder], list[str]]:
    """The splits inside one channel, also below one more folder, as archives are often packed; and
    the names of other folders beside them. Two splits with classes inside are no coincidence, so
    that `train`, `val` and `docs` are not taken for three classes."""
    for candidate in [folder, *(folder.folders if len(folder.folders) == 1 else ())]:
        names = {each.name.lower(): each for each in candidate.folders}
        splits = {
            split: names[name] for split, known in SPLITS.items() for name in known if name in names
        }
        beside = sorted(names.keys() - {each.name.lower() for each in splits.values()})
        if "train" not in splits:
            continue
        if not beside or (len(splits) > 1 and all(each.folders for each in splits.values())):
            return splits, beside
    return {}, []


def _packed(folder: Folder) -> list[str]:
    """Files that hold photos, or a list of them."""
    return [name for name in folder.files() if name.lower().endswith(SUFFIXES)]


def _split_files(folder: Folder) -> dict[str, Folder]:
    """`train.rec` beside `val.rec`: the same folder for each split, without the others' files."""
    splits = {name: _split_of_file(name) for name in _packed(folder)}
    found = set(splits.values()) - {None}
    if "train" not in found or len(found) < 2:
        return {}
    unclear = [name for name, split in splits.items() if split is None]
    ends = {name[name.index(".") :] for name, split in splits.items() if split is not None}
    for name in unclear:
        if name[name.index(".") :] in ends:
            raise ChannelError(
                f"{shown(name)} lies beside files of the splits, and is of none of them",
                "begin its name with train, val or test, or remove it",
            )
    return {
        str(split): folder.only(
            [name for name in folder.files() if splits.get(name, split) == split]
        )
        for split in found
    }


def _split_of_file(name: str) -> str | None:
    for split, known in SPLITS.items():
        if re.match(rf"({'|'.join(known)})([^a-z]|$)", name.lower()):
            return split
    return None
