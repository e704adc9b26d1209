#!/usr/bin/env python
"""Compiles the kernels of all runs that scripts/gpu_check.py measures, several presets at a time."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

RUNS = ("chaos gpu", "chaos laptop", "full gpu", "million gpu")
"""Preset and scale of each run."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry", action="store_true", help="compile one small run, without a GPU")
    options = parser.parse_args()
    runs: tuple[str, ...] = RUNS
    more: tuple[str, ...] = ("--processes", str(max(1, (os.cpu_count() or 1) // len(runs))))
    if options.dry:
        more, runs = (
            ("--target", "sm_90", "--processes", "2", "--realms", "1", "--minibatches", "1"),
            RUNS[1:2],
        )
    command = [sys.executable, "-m", "nmmo_gpu", "compile"]
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    started = [
        subprocess.Popen([*command, preset, "--scale", scale, *more], env=environment)
        for preset, scale in map(str.split, runs)
    ]
    return max(process.wait() for process in started)


if __name__ == "__main__":
    sys.exit(main())
