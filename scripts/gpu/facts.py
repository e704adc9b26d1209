#!/usr/bin/env python
"""Prints and writes as JSON the facts of a machine: hardware, versions, and the key of Triton's cache."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch

import nmmo_gpu
from nmmo_gpu.benchmarks.bench import machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    facts: dict[str, Any] = machine("auto") | {"package": nmmo_gpu.__file__, "cores": os.cpu_count()}
    facts["compilers"] = {name: shutil.which(name) for name in ("gcc", "ncu")}
    facts["triton_key"] = triton_key()
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        facts["gpu"] = {
            "name": properties.name, "memory_GiB": properties.total_memory / 2**30,
            "multiprocessors": properties.multi_processor_count,
            "capability": f"{properties.major}.{properties.minor}",
        }  # fmt: skip
        query = ["nvidia-smi", "--query-gpu=driver_version,clocks.sm,clocks.mem", "--format=csv,noheader"]
        if shutil.which(query[0]):
            facts["nvidia_smi"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    options.json.write_text(json.dumps(facts, indent=2) + "\n")
    for name, value in facts.items():
        print(f"{name}: {value}")


def triton_key() -> str:
    """Returns a key that is equal on machines that can share compiled kernels."""
    from triton.runtime import cache

    return hashlib.sha256(cache.triton_key().encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
