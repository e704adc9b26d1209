"""Helpers of the viewer's tests: the source folder, and a search for programs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

VIEWER = Path(__file__).parents[2] / "viewer"


def find(*names: str, variable: str | None = None) -> str | None:
    """Returns the program that the environment variable names, else the first of the names on the PATH, or
    None."""
    if variable and (named := os.environ.get(variable)):
        return named
    return next((path for name in names if (path := shutil.which(name))), None)


def require(there: bool, reason: str) -> None:
    """Unless ``there``, skips the test with the reason, or fails it under scripts/test.sh, which should
    install what is missing."""
    if not there:
        (pytest.fail if os.environ.get("NMMO_GPU_TEST_VIEWER") == "1" else pytest.skip)(reason)
