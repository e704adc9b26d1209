"""The location of the viewer's built page."""

from __future__ import annotations

from pathlib import Path

from nmmo_gpu.errors import UsageError

_FOLDER = Path(__file__).with_name("page")


def folder() -> Path:
    """The folder of the viewer's page, which any file server can serve; it holds ``index.html``.

    Raises:
        UsageError: the page does not exist, because it could not be built when nmmo-gpu was installed.
    """
    if not (_FOLDER / "index.html").exists():
        raise UsageError(
            f"{_FOLDER} has no page: the viewer could not be built when nmmo-gpu was installed. Install "
            "Node.js 20.19 or newer with npm (https://nodejs.org) and install nmmo-gpu again; in a checkout, "
            "`python scripts/build_backend.py` builds the page alone."
        )
    return _FOLDER
