"""What the viewer's tests share: its sources, and where programs are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

VIEWER = Path(__file__).parents[2] / "viewer"


def find(*names: str, variable: str | None = None) -> str | None:
    """The program that an environment variable names, or the first of the names that is on the PATH."""
    if variable and (named := os.environ.get(variable)):
        return named
    return next((path for name in names if (path := shutil.which(name))), None)


def require(there: bool, reason: str) -> None:
    """Skips the test for the reason; fails it under scripts/test.sh, which is to install what is missing."""
    if not there:
        (pytest.fail if os.environ.get("NMMO_GPU_TEST_VIEWER") == "1" else pytest.skip)(reason)
