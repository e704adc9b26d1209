"""The Python of the pages in docs/extending runs as it is written."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from nmmo_gpu.train import checkpoint as checkpoints

FOLDER = Path(__file__).parents[2] / "docs" / "extending"
PAGES = sorted(FOLDER.glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


def blocks(page):
    """Returns (code, number of its first line) of each block of a page."""
    text = page.read_text()
    return [(match[1], text.count("\n", 0, match.start(1))) for match in BLOCK.finditer(text)]


def run_page(page, monkeypatch, folder):
    """Runs the blocks of a page one after another, in one module and in a folder of its own; returns the
    module."""
    module = types.ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(folder)
    for code, line in blocks(page):
        exec(compile("\n" * line + code, str(page), "exec"), vars(module))
    return module


def test_pages_with_code_are_found():
    """Each fence that begins Python is a block that runs."""
    assert {page.stem for page in PAGES} >= {"rule", "observation", "reward", "network", "learner"}
    for page in PAGES:
        assert len(blocks(page)) == page.read_text().count("```python") > 0, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_run(page, monkeypatch, tmp_path):
    """In the order of the page. Each run that they name has trained and saved a checkpoint."""
    run_page(page, monkeypatch, tmp_path)
    named = set(re.findall(r'run="(runs/[\w-]+)"', "".join(code for code, _ in blocks(page))))
    assert named
    for run in named:
        assert (tmp_path / run / checkpoints.FILE).is_file(), run


def test_an_error_has_the_line_of_the_page(monkeypatch, tmp_path):
    """Its traceback names the page, and the blocks share their names."""
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n```python\nx = 1\n```\n\n```python\n\nassert x == 2\n```\n")
    with pytest.raises(AssertionError) as error:
        run_page(page, monkeypatch, tmp_path)
    last = error.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(page), 9)
