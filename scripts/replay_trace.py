#!/usr/bin/env python
"""Replays recordings of Neural MMO v1 through the tick; prints the first difference per file, or "agrees".

    python scripts/replay_trace.py tests/data/v1_traces/*.npz
    TRITON_INTERPRET=1 python scripts/replay_trace.py --backend triton FILE   # the kernels, without a GPU

Exit status: 0 if all agree, 1 if one differs, 2 for a file that is not a recording.
"""

import argparse
import sys

from nmmo_gpu.errors import NmmoError
from nmmo_gpu.replay.v1_trace import first_difference, load_trace


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="FILE", help="recordings (.npz)")
    parser.add_argument("--backend", default="auto", help="backend of the phases: auto, torch, numba, triton")
    parser.add_argument("--device", default="cpu", help="device of the world: cpu, cuda, auto")
    options = parser.parse_args()
    status = 0
    for path in options.files:
        try:
            difference = first_difference(load_trace(path), options.backend, options.device)
        except NmmoError as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 2
        print(f"{path}: {difference or 'agrees'}")
        status |= difference is not None
    return status


if __name__ == "__main__":
    sys.exit(main())
