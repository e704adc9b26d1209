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
    """Folder of recordings for worlds.tests.ts, made by whichever of the tests' processes comes first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "worlds"
    with FileLock(f"{folder}.lock"):
        if not (folder / "full.json").exists():
            write(folder)
    return folder


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
def test_the_viewer_in_a_browser(browser, npm, worlds):
    """All browser tests pass. One run for all of them: a browser takes seconds to start. A failure names the
    part and the test."""
    if browser == "chromium":
        program = find("chromium", "chromium-browser", "google-chrome", variable="CHROMIUM")
    else:
        program = find("firefox-esr", "firefox", variable="FIREFOX")
        require(find("Xvfb", variable="XVFB") is not None, "Xvfb is not on the PATH")
    require(program is not None, f"{browser} is not on the PATH")
    # Mesa draws in one thread: programs are tested beside the browser, and other tests, too.
    needs = {"LP_NUM_THREADS": "1", "NMMO_GPU_PYTHON": sys.executable, "NMMO_GPU_WORLDS": str(worlds)}
    output = npm("run", "test:browser", BROWSER=browser, **needs)
    print(output)
    assert "skipped" not in output, output
