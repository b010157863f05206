"""torchvision, without the compiler that it never calls here.

`torchvision.ops.roi_align`, which finds objects, asks `torch._dynamo` for one function as it is
imported, and with that comes the whole of it: 1.5 of the 3.5 seconds in which a server or a check
of the saved model starts. So it is given that function, which imports the rest when it is called.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

COMPILER, ASKED = "torch._dynamo", "torch._dynamo.utils"


def is_compile_supported(device_type: str) -> bool:
    from torch._dynamo.utils import is_compile_supported as real

    return bool(real(device_type))


@contextmanager
def _without_compiler() -> Iterator[None]:
    if COMPILER in sys.modules:
        yield
        return
    package, utils = ModuleType(COMPILER), ModuleType(ASKED)
    package.__path__ = []
    utils.is_compile_supported = is_compile_supported  # type: ignore[attr-defined]
    sys.modules |= {COMPILER: package, ASKED: utils}
    try:
        yield
    finally:
        del sys.modules[COMPILER], sys.modules[ASKED]


with _without_compiler():
    from torchvision import models as models
    from torchvision import transforms as transforms
