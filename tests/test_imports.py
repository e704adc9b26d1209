"""Packages import only lower packages, as listed in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from importlinter.cli import lint_imports


def test_no_import_goes_upwards():
    """The contracts hold; a broken one is printed."""
    assert lint_imports(str(Path(__file__).parents[1] / "pyproject.toml"), no_cache=True) == 0
