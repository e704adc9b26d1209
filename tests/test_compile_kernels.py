"""Every kernel compiles for every target without spilling registers, and the script would report one that
does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
SCRIPT = Path(__file__).parents[1] / "scripts" / "compile_kernels.py"
KERNELS = SCRIPT.parents[1] / "nmmo_gpu" / "kernels"
TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")


def run(*options, **environment):
    """Runs the script; returns the finished process."""
    command = [sys.executable, str(SCRIPT), *options]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


def all_kernels():
    """Returns the names of all kernels that the source passes to ``launch``."""
    source = "".join(path.read_text() for path in KERNELS.rglob("*.py"))
    return set(re.findall(r"\blaunch\(\s*(_\w+)", source))


def test_all_kernels_compile_without_spills():
    """For each target the table has every kernel of the package, and none fails. All targets share one
    process, because finding the launches takes longer than compiling them for one target."""
    done = run("--targets", *TARGETS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = done.stdout.splitlines()
    of_target = {name: [line.split() for line in lines if f" {name} " in line] for name in TARGETS}
    for target, rows in of_target.items():
        assert {row[0] for row in rows} == all_kernels() and len(all_kernels()) >= 20, target
        assert all(int(row[-3]) > 0 and int(row[-2]) == 0 and int(row[-1]) >= 0 for row in rows), target
    number = sum(map(len, of_target.values()))
    assert f"{number} compiled" in done.stdout and "0 failed or spilled" in done.stdout
    assert len({len(rows) for rows in of_target.values()}) == 1


FAULTS = """
sys.modules["nmmo_gpu.kernels.train.inputs"].HEADER = 1 << 14
import triton
from triton.language import constexpr
@triton.jit
def _regrowth(world, tiles, MINED: constexpr, BLOCK: constexpr):
    unknown_function(world)
sys.modules["nmmo_gpu.kernels.regrowth"]._regrowth = _regrowth
"""
"""One kernel spills, and another does not compile."""


def test_faults_are_reported(tmp_path):
    """The exit status is 1, both kernels are named with their fault, and all faults are counted. Only
    launches of a laptop's training are compiled; the test above covers the others, which take long to
    find."""
    driver = tmp_path / "driver.py"
    driver.write_text(
        f"import os, runpy, sys\nos.environ['TRITON_INTERPRET'] = '0'\n"
        f"import nmmo_gpu.kernels.train\n{FAULTS}\n"
        "from nmmo_gpu.train import launches\n"
        "laptop = launches.NETWORKS['laptop']\n"
        "launches.all_launches = lambda: {'laptop': launches._of_training(laptop)}\n"
        "sys.argv = ['x', '--targets', 'sm_80', '--kernels', '_encode_header', '_regrowth']\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, str(driver)], capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr[-2000:]
    spilled, failed = (
        [line.split()[0] for line in done.stdout.splitlines() if mark in line]
        for mark in ("SPILLS", "FAILED")
    )
    assert set(spilled) == {"_encode_header"} and set(failed) == {"_regrowth"}
    assert f" {len(spilled) + len(failed)} failed or spilled" in done.stdout
