"""The example of scripted policies runs and prints a line for each policy."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "scripted.py"


def test_it_prints_lifetimes():
    """Of random agents, foragers and hunters, the foragers live longest."""
    tiny = ["law", "--realms", "2", "--side", "40", "--slots", "16", "--ticks", "120", "--backend", "torch"]
    run = subprocess.run(
        [sys.executable, SCRIPT, *tiny], capture_output=True, text=True, timeout=300, check=True
    )
    title, *rows = run.stdout.strip().splitlines()
    assert "mean lifetime" in title
    lifetimes = {name: float(mean) for name, mean, *_ in map(str.split, rows)}
    assert list(lifetimes) == ["random", "forager", "hunter"]
    assert lifetimes["random"] < 16 and lifetimes["forager"] > 35
    assert len(SCRIPT.read_text().splitlines()) <= 60
