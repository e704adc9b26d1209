#!/usr/bin/env python
"""Compares the memory estimate of `nmmo-gpu info` for a training run with the memory used on a GPU.

python scripts/check_memory.py --scale gpu
"""

from __future__ import annotations

import argparse
import sys

import torch

from nmmo_gpu.train.memory_estimate import training_parts
from nmmo_gpu.train.presets import SCALES, train_preset
from nmmo_gpu.train.run import Run
from nmmo_gpu.world.memory import GIB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=SCALES, default="gpu")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("torch sees no CUDA device; memory can be measured only on one.", file=sys.stderr)
        return 2
    config = train_preset("chaos", options.scale)
    expected = sum(part.bytes for part in training_parts(config))
    run = Run(config)
    for _ in range(8):  # the first computes all slots; later ones are captured when their size repeats
        run.iterate()
    torch.cuda.synchronize()
    allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    print(f"{expected / GIB:10.3f} GiB estimated")
    print(f"{allocated / GIB:10.3f} GiB allocated at peak, {reserved / GIB:.3f} GiB reserved")
    return 0 if allocated <= 1.25 * expected else 1


if __name__ == "__main__":
    sys.exit(main())
