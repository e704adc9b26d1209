"""The viewer reads the recordings of this package, and derives observations and actions from them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from viewer.fixtures import write

VIEWER = Path(__file__).parents[2] / "viewer"
VITEST = VIEWER / "node_modules" / "vitest" / "vitest.mjs"


def test_the_viewer_reads_recordings(tmp_path: Path) -> None:
    """The viewer's own tests (viewer/tests/cross) compare recordings written by Python with the recorded
    world: columns, depleted tiles, gaps, windows, entity tables, attacks, counts and maps. They also read
    malformed variants."""
    node = shutil.which("node")
    if node is None or not VITEST.exists():
        pytest.skip("needs Node and `npm ci` in viewer/")
    write(tmp_path)
    done = subprocess.run(
        [node, str(VITEST), "run", "tests/cross"],
        cwd=VIEWER,
        env={**os.environ, "NMMO_GPU_FIXTURES": str(tmp_path), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the fixtures are there" not in done.stdout or "skipped" not in done.stdout, done.stdout
