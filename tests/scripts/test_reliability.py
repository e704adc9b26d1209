"""The measurements of reliability run, and notice what is not as promised."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "scripts" / "reliability"


def rows(name, *options):
    """Returns the exit status of a script and the cells of its table's rows."""
    command = [sys.executable, str(FOLDER / name), *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    lines = [line for line in run.stdout.splitlines() if line.startswith("|")]
    assert lines and "Traceback" not in run.stderr, run.stdout + run.stderr
    return run.returncode, [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
def test_a_killed_training():
    """Two kills, after which the end of the run is that of a run without any."""
    status, [[what, times, lost]] = rows("kills.py", "--count", "2")
    assert status == 0 and "kill -9" in what and times == "2"
    assert lost.startswith("checkpoints: 0; saved iterations: 0; tensors that differ at the end: 0")


@pytest.mark.slow
def test_damaged_files():
    """Forty of each kind; there are no other errors than those that refuse them."""
    status, found = rows("damage.py", "--count", "40")
    assert status == 0 and len(found) == 5
    for what, times, lost in found:
        assert what.startswith("damaged ") and 36 <= int(times) <= 40 and ", 0 other errors" in lost
    assert found[0][2].startswith("40 refused")


def test_a_long_game():
    """A hundred ticks with every invariant. The status also depends on the speed, which is not tested."""
    _, [[what, times, lost]] = rows("soak.py", "play", "--ticks", "100")
    assert what.startswith("100 ticks of full") and times == "1" and lost.startswith("no invariant; memory")
