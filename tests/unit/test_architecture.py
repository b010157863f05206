"""The arrows between packages, and what a program must not import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MAY_IMPORT = {
    "container": set(),
    "artifact": set(),
    "bench": {"container"},
    "pages": set(),
    "debugger": {"container", "pages"},
    "serve": {"artifact", "container", "pages"},
    "train": {"artifact", "container", "debugger", "pages"},
    "tune": {"artifact", "container", "describe", "train"},
    "describe": {"serve", "train"},
    "doctor": {"container", "train"},
    "jobs": {"tune"},
    "local_test": {"container"},
}

ONLY_IN = {
    "flask": {"serve/app.py", "serve/models_api.py"},
    "smdebug": {"debugger/"},
    "plotly": {"tune/page.py", "debugger/report/figures.py"},
    "pynvml": {"debugger/profiler/gpus.py"},
    "prometheus_client": {"serve/exposition.py"},
}
"""Libraries and the files, or folders, that may name them."""


def imported(source):
    """Top-level names that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_follow_the_arrows(package):
    sources = list((ROOT / package).rglob("*.py"))

    assert sources
    for source in sources:
        ours = set(imported(source)) & MAY_IMPORT.keys() - {package}
        assert ours <= MAY_IMPORT[package], f"{source.relative_to(ROOT)} imports {ours}"


@pytest.mark.parametrize(("library", "only"), ONLY_IN.items())
def test_a_library_is_seen_in_its_place(library, only):
    users = {
        str(source.relative_to(ROOT))
        for package in MAY_IMPORT
        for source in (ROOT / package).rglob("*.py")
        if library in imported(source)
    }

    places = {place for place in only if any(user.startswith(place) for user in users)}
    assert places == only
    assert all(user.startswith(tuple(only)) for user in users), users


def test_the_platforms_folder_is_known_in_one_place():
    users = {
        str(source.relative_to(ROOT))
        for package in ("artifact", "debugger", "serve", "train")
        for source in (ROOT / package).rglob("*.py")
        if '"/opt/ml' in source.read_text(encoding="utf-8")
    }

    assert not users


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("serve.app", {"torch", "torchvision", "smdebug", "prometheus_client", "pages"}),
        ("serve.boot", {"torch", "flask", "numpy", "PIL"}),
        ("serve.engine.choice", {"torch", "openvino", "PIL"}),
        ("container.supervisor", {"torch", "numpy", "PIL"}),
        ("artifact.preprocess", {"torch"}),
        ("train.job", {"smdebug", "flask", "matplotlib", "tensorboardX"}),
    ],
)
def test_a_program_does_not_load_what_it_does_not_need(module, absent):
    program = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert not absent & set(done.stdout.split())


def test_torchvision_comes_without_the_compiler_and_works_with_it():
    program = """
import sys, torch
from artifact.vision import models
assert "torch._dynamo" not in sys.modules
from torchvision.ops import RoIAlign
box = torch.tensor([[0.0, 0, 0, 4, 4]])
assert RoIAlign(2, 1.0, 1)(torch.ones(1, 1, 8, 8), box).eq(1).all()
assert torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(2)).eq(1).all()
assert torch._dynamo.utils.is_compile_supported("cpu") in (True, False)
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
