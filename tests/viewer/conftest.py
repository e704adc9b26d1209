"""Fixture that runs npm for the tests of the viewer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from support.viewer_tools import VIEWER, find, require


@pytest.fixture(scope="session")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Returns a function that runs npm in viewer/ with its packages installed and additional environment
    variables. It returns stdout and stderr together, and fails the test with them if npm fails."""
    program = find("npm")
    require(program is not None, "npm is not on the PATH")

    def run(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [program, *arguments],
            cwd=VIEWER,
            env=os.environ | {"NO_COLOR": "1"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            pytest.fail(f"npm {' '.join(arguments)} ended with status {done.returncode}:\n{done.stdout}")
        return done.stdout

    # Test processes share a checkout, so only one installs.
    with FileLock(tmp_path_factory.getbasetemp().parent / "npm.lock"):
        installed = VIEWER / "node_modules" / ".package-lock.json"
        if not installed.exists() or _older(installed, VIEWER / "package-lock.json"):
            run("ci", "--no-audit", "--no-fund")
    return run


def _older(one: Path, other: Path) -> bool:
    return one.stat().st_mtime < other.stat().st_mtime
