"""The viewer's tests in real browsers: viewer/tests/browser, once in Chromium and once in Firefox."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock
from support.viewer_tools import VIEWER, find, require
from viewer.worlds import write

FILES = sorted(path.name for path in (VIEWER / "tests" / "browser").glob("*.test.ts"))


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of recordings for worlds.test.ts, made by whichever of the tests' processes comes first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "worlds"
    with FileLock(f"{folder}.lock"):
        if not (folder / "full.json").exists():
            write(folder)
    return folder


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("browser", ["chromium", "firefox"])
def test_the_viewer_in_a_browser(browser, file, npm, request):
    """A file of browser tests passes."""
    if browser == "chromium":
        program = find("chromium", "chromium-browser", "google-chrome", variable="CHROMIUM")
    else:
        program = find("firefox-esr", "firefox", variable="FIREFOX")
        require(find("Xvfb", variable="XVFB") is not None, "Xvfb is not on the PATH")
    require(program is not None, f"{browser} is not on the PATH")
    # Mesa draws in one thread: programs are tested beside the browser, and other tests, too.
    needs = {"LP_NUM_THREADS": "1"}
    if file == "live.test.ts":
        needs["NMMO_GPU_PYTHON"] = sys.executable
    if file == "worlds.test.ts":
        needs["NMMO_GPU_WORLDS"] = str(request.getfixturevalue("worlds"))
    # Drawing without a GPU takes all processors: two of one browser would only wait for each other. A lock
    # rather than xdist's groups, for these would spread all other tests singly and not by module.
    with FileLock(Path(tempfile.gettempdir()) / f"nmmo-gpu-{browser}.lock"):
        output = npm("run", "test:browser", "--", f"tests/browser/{file}", BROWSER=browser, **needs)
    print(output)
    assert "skipped" not in output, output
