"""The table of the papers' statements: what it names in the code is there, and its figures hold."""

import ast
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.kernels.synthesis.psf_sampling import path_response
from train.recipes import BURST, PHOTO

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"\[`([\w.]+)`\]\(\.\./([\w/]+\.py)\)", PAGE)))


@cache
def _defined(file):
    """Names that a file defines: functions, classes, constants, and methods as Class.method."""
    names = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
            names |= {f"{node.name}.{inner.name}" for inner in ast.walk(node) if isinstance(inner, ast.FunctionDef)}
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                names |= {part.id} if isinstance(part, ast.Name) else set()
    return names


@pytest.mark.parametrize(("name", "file"), NAMED)
def test_what_the_table_names_is_in_that_file(name, file):
    assert name in _defined(file)


def test_every_statement_names_its_place_or_none():
    statements = PAGE[PAGE.index("## Statement by statement") :]
    rows = [line.strip("| ").split(" | ") for line in statements.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if row[0] != "the paper"]
    assert len(rows) >= 60
    for row in rows:
        assert len(row) == 3, row
        assert row[1] == "–" or re.fullmatch(r"\[`[\w.]+`\]\(\S+\)(, \[`[\w.]+`\]\(\S+\))*", row[1]), row


@pytest.mark.parametrize(("paper", "equations"), [("photo", range(1, 18)), ("burst", range(2, 7))])
def test_every_equation_is_in_the_table(paper, equations):
    """The burst paper's Eq. (1) is its Eq. (2) for one frame."""
    part = PAGE.split("## Statement by statement: the ")[1 if paper == "photo" else 2]
    named = {int(number) for number in re.findall(r"\((\d+)\)", part)}
    for first, last in re.findall(r"\((\d+)\) to \((\d+)\)", part):
        named |= set(range(int(first), int(last)))
    assert set(equations) <= named


def test_extent_of_the_psfs_and_share_of_paths_drawn_again():
    psfs = sample_gp_psfs(np.random.default_rng(0), 2000, 17)
    sides = [np.array([np.ptp(np.flatnonzero(seen)) + 1 for seen in psfs.any(axis=axis)]) for axis in (1, 2)]
    assert f"{np.maximum(*sides).mean():.1f} px long on average, {np.mean(sides):.1f} px when both" in PAGE
    paths = np.random.default_rng(1).standard_normal((2000, 2, 2000)) @ path_response(1000).T
    reach = abs(paths - paths.mean(axis=-1, keepdims=True)).max(axis=(1, 2))
    assert 1 / 7.5 < (reach > 0.5).mean() < 1 / 6.5


def test_recipes_hold_the_published_numbers():
    photo, burst = PHOTO["paper"], BURST["paper"]
    assert [photo[name] for name in ("filters", "crop", "noise", "lr", "frozen_steps")] == [32, 256, 0.01, 0.01, 1000]
    assert [burst[name] for name in ("batch", "lr", "frames")] == [32, 2.0, [14, 14]]
