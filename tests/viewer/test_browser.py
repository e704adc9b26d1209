"""The viewer's tests in real browsers: viewer/tests/browser, once in Chromium and once in Firefox."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from filelock import FileLock
from viewer_tools import VIEWER, find, require

FILES = sorted(path.name for path in (VIEWER / "tests" / "browser").glob("*.test.ts"))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("browser", ["chromium", "firefox"])
def test_the_viewer_in_a_browser(browser, file, npm):
    """A file of browser tests passes."""
    if browser == "chromium":
        program = find("chromium", "chromium-browser", "google-chrome", variable="CHROMIUM")
    else:
        program = find("firefox-esr", "firefox", variable="FIREFOX")
        require(find("Xvfb", variable="XVFB") is not None, "Xvfb is not on the PATH")
    require(program is not None, f"{browser} is not on the PATH")
    # Drawing without a GPU takes all processors: two of one browser would only wait for each other. A lock
    # rather than xdist's groups, for these would spread all other tests singly and not by module.
    with FileLock(Path(tempfile.gettempdir()) / f"nmmo-gpu-{browser}.lock"):
        print(npm("run", "test:browser", "--", f"tests/browser/{file}", BROWSER=browser))
