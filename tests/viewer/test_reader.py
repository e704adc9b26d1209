"""The viewer reads what this package writes, and works out from it what agents saw and did."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from viewer.fixtures import write

VIEWER = Path(__file__).parents[2] / "viewer"
VITEST = VIEWER / "node_modules" / "vitest" / "vitest.mjs"


def test_the_viewer_reads_what_is_written(tmp_path: Path) -> None:
    """Recordings by Python's writer, held against the world that they were taken from by the viewer's own
    tests (viewer/tests/cross): columns, used-up tiles, gaps, windows, entity tables, attacks, counts, maps;
    and hostile variants of them."""
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
