"""The documents: links lead somewhere, commands name what there is, and the README stays short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "deconvnet" / "weights").glob("*.md")),
    ROOT / "kernels" / "LOG.md",
    ROOT / "train" / "LOG.md",
]


def _anchors(text):
    """Anchors that a page gets from its headings."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://doi.org/10."):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.is_file(), target
        if anchor:
            assert anchor in _anchors(linked.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_name_what_there_is(path):
    text = path.read_text(encoding="utf-8")
    for module in re.findall(r"python -m ([\w.]+)", text):
        inside = ROOT.joinpath(*module.split("."))
        known = module in ("venv", "pytest", "pip", "sphinx") or inside.with_suffix(".py").is_file()
        assert known or (inside / "__main__.py").is_file(), module
    for script in re.findall(r"python (\w[\w/]*\.py)", text):
        assert (ROOT / script).is_file(), script


def test_the_experiments_of_the_papers_exist():
    from bench.figures import experiments

    text = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:burst|photo)-[a-z-]+)", text))
    assert named == set(experiments())


def test_the_readme_is_short_and_every_page_is_linked_from_it():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in text, page.name


def test_no_table_is_wide():
    for path in DOCUMENTS:
        if path.name == "performance.md" or path.parent.name == "weights":  # written by programs
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", line):
                assert line.count("|") <= 8, f"{path.name}: {line}"
