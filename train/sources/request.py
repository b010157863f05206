"""One split to be read: its files, and what the job says about them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from container.failure import ChannelError
from train.sources.absent import Absent
from train.sources.listing import Folder
from train.sources.paths import AbsentError, Resolver
from train.sources.samples import Names, Samples


@dataclass(frozen=True)
class ContentType:
    """Of a channel, as the job was given it: `application/x-recordio; label-format=class-id`."""

    name: str = ""
    class_ids: bool = False
    """Whether lists of labels are class numbers, and not 0 and 1 per class."""

    @classmethod
    def parse(cls, text: str, channel: str) -> "ContentType":
        """Raises ChannelError."""
        name, *parameters = (part.strip().lower() for part in text.split(";"))
        form = "multi-hot"
        for parameter in filter(None, parameters):
            key, _, value = parameter.partition("=")
            if key.strip() == "label-format":
                form = value.strip().strip('"')
        if form not in ("multi-hot", "class-id"):
            raise ChannelError(
                f"{channel}: ContentType {text!r:.300} has label-format={form!r}",
                "label-format is multi-hot or class-id",
            )
        return cls(name, form == "class-id")


@dataclass(frozen=True)
class Request:
    split: str
    folder: Folder
    content_type: ContentType
    lists: Folder | None = None
    """Of the channel that holds the list of the photos, where it is one of its own."""
    class_names: Callable[[], Names] = dict
    """Reads the file that names classes, for the formats that have numbers. Raises DataError."""
    files: tuple[str, ...] = ()
    """Of the format that was found: lists, records or archives at the top of the folder."""
    notes: list[str] = field(default_factory=list)
    absent: Absent | None = None
    """Takes the list's entries whose files are not here, where every host has a part of them."""

    @property
    def class_ids(self) -> bool:
        return self.content_type.class_ids

    @cached_property
    def names(self) -> Names:
        return self.class_names()

    @cached_property
    def resolver(self) -> Resolver:
        return Resolver(self.folder)

    def list_path(self) -> Path:
        """Of the one list, which `absent` is of, too. Raises ChannelError."""
        if len(self.files) != 1:
            raise ChannelError(
                f"{self.split}: {len(self.files)} lists of photos: {', '.join(self.files[:5])}",
                "give one list for a split",
            )
        path = (self.lists or self.folder).path / self.files[0]
        if self.absent is not None:
            self.absent.list = path
        return path

    def add(self, samples: Samples, line: int, written: str, labels: Iterable[str]) -> None:
        """The photo of one line of the list, if it is here. Raises PathRefusedError."""
        try:
            name = self.resolver.file(written)
        except AbsentError:
            if self.absent is None:
                raise
            self.absent.numbers.append(line)
        else:
            samples.add(name, labels)
