"""Header fields that come back with every answer, errors too: the caller tells answers by them."""

import re
from collections.abc import Callable

from serve.attributes import CUSTOM_ATTRIBUTES

INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
ECHOED = (CUSTOM_ATTRIBUTES, INFERENCE_ID)
MAX_CHARACTERS = 1024
PRINTABLE = re.compile(r"[\x20-\x7e\t]+")


def echoed(field: Callable[[str], str]) -> dict[str, str]:
    """`field` gives a header field of the request, or "". What no field may hold is left out."""
    values = {name: field(name)[:MAX_CHARACTERS] for name in ECHOED}
    return {name: value for name, value in values.items() if PRINTABLE.fullmatch(value)}
