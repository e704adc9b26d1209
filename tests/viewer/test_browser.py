"""The viewer's tests in real browsers: viewer/tests/browser, once in Chromium and once in Firefox."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from support.viewer_tools import find, require
from viewer.worlds import write


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of recordings for worlds.tests.ts, which the first test process writes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "worlds"
    with FileLock(f"{folder}.lock"):
        if not (folder / "full.json").exists():
            write(folder)
    return folder


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
def test_the_viewer_in_a_browser(browser, npm, worlds):
    """Runs all browser tests at once, since a browser takes seconds to start. The output of a failure names
    the test."""
    if browser == "chromium":
        program = find("chromium", "chromium-browser", "google-chrome", variable="CHROMIUM")
    else:
        program = find("firefox-esr", "firefox", variable="FIREFOX")
        require(find("Xvfb", variable="XVFB") is not None, "Xvfb is not on the PATH")
    require(program is not None, f"{browser} is not on the PATH")
    # Mesa renders in one thread, to leave cores to the programs under test and to other tests.
    needs = {"LP_NUM_THREADS": "1", "NMMO_GPU_PYTHON": sys.executable, "NMMO_GPU_WORLDS": str(worlds)}
    output = npm("run", "test:browser", BROWSER=browser, **needs)
    print(output)
    assert "skipped" not in output, output
