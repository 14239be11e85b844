"""The examples in the docstrings give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _modules():
    """Names of the modules that have examples."""
    for folder, package in (("deconvnet", "deconvnet"), ("kernels", "deconvnet.kernels")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                inside = path.relative_to(ROOT / folder).with_suffix("").parts
                yield ".".join([package, *(part for part in inside if part != "__init__")])


@pytest.mark.parametrize("name", list(_modules()))
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0 and found.failed == 0
