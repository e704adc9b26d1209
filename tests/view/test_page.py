"""The location of the viewer's page, and the error if it was not built."""

from __future__ import annotations

import pytest

from nmmo_gpu.errors import UsageError
from nmmo_gpu.view import page


def test_the_folder_of_a_built_page_has_its_index(tmp_path, monkeypatch):
    """The folder in the package is returned."""
    monkeypatch.setattr(page, "_FOLDER", tmp_path)
    (tmp_path / "index.html").write_text("<!doctype html>")
    assert page.folder() == tmp_path


def test_a_missing_page_is_an_error_with_the_remedy(tmp_path, monkeypatch):
    """A folder without an index, as an interrupted copy leaves it, is not a page."""
    monkeypatch.setattr(page, "_FOLDER", tmp_path)
    with pytest.raises(UsageError, match=r"Install Node\.js 20\.19 or newer.*build_backend\.py"):
        page.folder()
