"""A request's body and content type -> its items, in order: images for the engine, or errors.

Of the photo types the content type is only a hint: clients send one type for everything, so the
content is sniffed. A type that is not listed is refused even where its bytes would decode.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifact import preprocess
from artifact.preprocess import PhotoError, PhotoTooLargeError, Preprocessing
from serve import multipart, npy, tensor, text
from serve.refusal import ContentTypeError, PayloadError, TooLargeError

Image = NDArray[np.uint8] | NDArray[np.float32]

UNNAMED = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""No type, no particular one, and what curl --data-binary sends: a photo, or .npy by its magic."""

PHOTOS = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/bmp",
    "image/tiff",
    "application/x-image",
    *UNNAMED,
)
NPY = "application/x-npy"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
MULTIPART = "multipart/form-data"
ACCEPTED = tuple(name for name in (*PHOTOS, NPY, JSON, JSON_LINES, MULTIPART) if name)

CURL = "curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg http://HOST:8080/invocations"
JSON_FORMS = (
    'send {"image": base64 of a photo} or {"instances": [...]} of such objects, of base64 strings '
    "or of 3 x H x W numbers"
)


MOST_LINES = 200_000
"""Of a body whose lines are of any number: its answer has as many, and is held until it is whole.
More are no photos, and could not be answered in the longest time that a request has."""


@dataclass(frozen=True)
class Rules:
    """What the model and the server's settings allow."""

    preprocessing: Preprocessing
    max_pixels: int
    max_items: int
    urls: bool = False
    """An item may be the URL of its photo; it is left to the caller to fetch."""
    lines_at_a_time: int = 0
    """JSON Lines may be up to MOST_LINES, and are read so many at a time; 0: `max_items` at most.
    """


@dataclass(frozen=True)
class Item:
    """One of `image` (H x W x 3 uint8, or 3 x H x W float32 normalised), `error` and `url`."""

    image: Image | None = None
    error: PayloadError | None = None
    id: str | int | float | bool | None = None
    url: str | None = None


@dataclass(frozen=True)
class Payload:
    """`single` where the request's form holds one image, and not a list that may be of length 1."""

    items: list[Item]
    single: bool = False


def mimetype(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def check_type(content_type: str) -> str:
    """The plain type. Raises ContentTypeError with the list of what is taken."""
    name = mimetype(content_type)
    if name and name not in ACCEPTED:
        raise ContentTypeError(
            f"Content-Type {name[:80]!r} is not taken; accepted: {', '.join(ACCEPTED)}",
            accepted=list(ACCEPTED),
            example=CURL,
        )
    return name


def decode(body: bytes, content_type: str, rules: Rules) -> Payload:
    """Raises PayloadError where the request as a whole cannot be read."""
    name = check_type(content_type)
    if name == JSON:
        return _json(body, rules)
    if name == JSON_LINES:
        return _json_lines(body, rules)
    if name == MULTIPART:
        return _multipart(body, content_type, rules)
    if name == NPY or (name in UNNAMED and body.startswith(npy.MAGIC)):
        return _npy(body, rules)
    return Payload([_attempt(lambda: photo(body, rules))], single=True)


def pieces(body: bytes, content_type: str, rules: Rules) -> Iterator[Callable[[], Payload]]:
    """What reads the request, part after part: all at once, or JSON Lines in groups.

    Of those every line is an item, an empty one too: a batch job joins lines out to lines in.
    """
    start, end = 0, len(body)
    while end and body[end - 1] in b"\r\n":  # not rstrip, which would copy all of it
        end -= 1
    if not (rules.lines_at_a_time and end and check_type(content_type) == JSON_LINES):
        yield lambda: decode(body, content_type, rules)
        return
    count = body.count(b"\n", start, end) + 1
    if count > MOST_LINES:
        raise TooLargeError(
            f"{count:,} lines in one body; the limit is {MOST_LINES:,}; lower MaxPayloadInMB",
            limit=MOST_LINES,
            received=count,
        )
    while start < end:
        stop = start
        for _ in range(rules.lines_at_a_time):
            found = body.find(b"\n", stop, end)
            stop = found + 1 if found >= 0 else end + 1
            if stop > end:
                break
        group = body[start : min(stop - 1, end)]
        yield partial(_group, group, rules)
        start = stop


def _group(lines: bytes, rules: Rules) -> Payload:
    return Payload([_json_line(line, rules) for line in lines.split(b"\n")])


def photo(body: bytes, rules: Rules) -> Image:
    """Raises PayloadError."""
    try:
        return preprocess.pixels(body, rules.preprocessing, rules.max_pixels)
    except PhotoTooLargeError as error:
        raise TooLargeError(str(error), limit=error.limit, received=error.pixels) from error
    except PhotoError as error:
        raise PayloadError(str(error)) from error


def _attempt(read: Callable[[], Image], identity: Any = None) -> Item:
    """An item that cannot be read fails alone."""
    try:
        return Item(image=read(), id=identity)
    except PayloadError as error:
        return Item(error=error.bare(), id=identity)


def _check_count(count: int, rules: Rules) -> None:
    if count > rules.max_items:
        raise TooLargeError(
            f"{count} items in one request; the limit is {rules.max_items}",
            limit=rules.max_items,
            received=count,
        )
    if count == 0:
        raise PayloadError("0 items: there is nothing to classify")


def _npy(body: bytes, rules: Rules) -> Payload:
    array = npy.read(body)
    single = array.ndim == 3
    axis = -3 if array.dtype.kind == "f" else -1
    channels = array.shape[axis] if array.ndim in (3, 4) else 0
    if channels != 3:
        raise PayloadError(f".npy of {array.dtype} with shape {array.shape}; {npy.ASK}")
    images = array[None] if single else array
    _check_count(len(images), rules)
    return Payload([_attempt(_reader(image, rules)) for image in images], single=single)


def _reader(image: NDArray[Any], rules: Rules) -> Callable[[], Image]:
    if image.dtype.kind == "f":
        return lambda: tensor.planes(image, rules.preprocessing.image_size, rules.max_pixels)
    return lambda: tensor.pixels(image, rules.preprocessing, rules.max_pixels)


def _json(body: bytes, rules: Rules) -> Payload:
    value = text.parse(body, JSON_FORMS)
    if not isinstance(value, dict):
        raise PayloadError(f"JSON of type {type(value).__name__}; {JSON_FORMS}")
    if "instances" not in value:
        return Payload([_instance(value, rules)], single=True)
    instances = value["instances"]
    if not isinstance(instances, list):
        raise PayloadError(f"instances of type {type(instances).__name__}; {JSON_FORMS}")
    _check_count(len(instances), rules)
    return Payload([_instance(instance, rules) for instance in instances])


def _json_lines(body: bytes, rules: Rules) -> Payload:
    lines = [line for line in body.split(b"\n") if line.strip()]
    _check_count(len(lines), rules)
    return Payload([_json_line(line, rules) for line in lines])


def _json_line(line: bytes, rules: Rules) -> Item:
    try:
        return _instance(text.parse(line, JSON_FORMS), rules)
    except PayloadError as error:
        return Item(error=error.bare())


def _instance(value: Any, rules: Rules) -> Item:
    identity = value.get("id") if isinstance(value, dict) else None
    if not isinstance(identity, str | int | float | None) or identity in (inf, -inf):
        return Item(error=PayloadError("id must be a string or a number"))
    url = value.get("url") if isinstance(value, dict) and "image" not in value else None
    if rules.urls and isinstance(url, str):
        return Item(url=url, id=identity)
    return _attempt(lambda: _image(value, rules), identity)


def _image(value: Any, rules: Rules) -> Image:
    if isinstance(value, dict):
        if "image" not in value:
            shown = ", ".join(sorted(value))[:80] or "nothing"
            hint = "; a url is not fetched unless ALLOW_URLS=true" if "url" in value else ""
            raise PayloadError(f"an object with {shown} and no image{hint}; {JSON_FORMS}")
        value = value["image"]
    if isinstance(value, str):
        return photo(text.photo(value), rules)
    if isinstance(value, list):
        numbers = tensor.from_lists(value)
        return tensor.planes(numbers, rules.preprocessing.image_size, rules.max_pixels)
    raise PayloadError(f"an image of type {type(value).__name__}; {JSON_FORMS}")


def _multipart(body: bytes, content_type: str, rules: Rules) -> Payload:
    parts = multipart.parts(body, content_type, lambda count: _check_count(count, rules))
    items = []
    for part in parts:
        try:
            name = check_type(part.content_type)
            if name in (JSON, JSON_LINES, MULTIPART):
                raise ContentTypeError(f"a part of type {name!r} is not taken; send photos or .npy")
            items += decode(part.data, part.content_type, rules).items
        except PayloadError as error:
            items.append(Item(error=error.bare()))
    _check_count(len(items), rules)
    return Payload(items)
