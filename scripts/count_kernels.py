#!/usr/bin/env python
"""Counts what a tick and a training iteration do on a GPU, without one, and predicts the time that follows:

    python scripts/count_kernels.py                    # ticks of chaos and full, a training iteration
    python scripts/count_kernels.py chaos --json counts.json
    python scripts/count_kernels.py chaos train --compare docs/benchmarks/h100.json

For each kernel it prints, per slot (in training: per slot and tick), empty slots included: warp-instructions
in the machine code, with loops as often as they run; bytes read and written, counted under Triton's
interpreter (``counting/sectors.py``); the bytes that memory moves for that; registers per thread and programs
per multiprocessor; and the largest of the limits of ``counting/model.py``, in ns, with its name. Torch's
operations are counted on tensors without data.

Instructions are an upper bound: blocks that a program skips because no lane needs them count as run, as do
both sides of a branch. All slots are occupied at the start of the tick whose bytes are counted.

Exit status 1 if a goal (``GOALS``) is missed, or if a kernel has something that cannot be counted, such as a
loop of unknown length.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ["TRITON_INTERPRET"] = "0"

import torch
import triton
from counting import dense, model, sectors
from counting.kernels import add_bytes, of_part, of_tick, rows_of
from counting.table import Table, as_json, compare, show
from counting.work import REALMS, iteration, settings, ticks

PARTS = {"chaos": ("chaos",), "full": ("full",), "train": ("rollout", "update")}
"""The tables of each argument."""


class Goal(NamedTuple):
    """An upper bound of a count."""

    of: str
    """The argument whose tables it concerns."""
    name: str
    unit: str
    limit: float
    value: Callable[[dict[str, Table]], float]
    """Returns the count, from the tables by name."""
    of_bytes: bool = False
    """Whether the bytes of Triton's kernels are part of the count."""


GOALS = (
    Goal(
        "chaos", "kernels of the observation in a tick of chaos", "warp-instructions per agent", 200,
        lambda tables: tables["chaos"].instructions("nmmo_gpu.kernels.observation"),
    ),
    Goal(
        "chaos", "all kernels of a tick of chaos", "warp-instructions per agent", 330,
        lambda tables: tables["chaos"].instructions(),
    ),
    Goal(
        "train", "rollout and update outside matrix products", "bytes per slot and tick", 35_000,
        lambda tables: tables["rollout"].outside_products() + tables["update"].outside_products(), True,
    ),
    Goal(
        "train", "an update", "torch operations and launches of kernels", 3_000,
        lambda tables: tables["update"].operations,
    ),
)  # fmt: skip
"""Views and allocations are no operations, see ``counting/operations.py``."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="chaos | full | train", help="default: all three")
    parser.add_argument("--target", default="sm_90", help="a CUDA target, such as sm_80; sm_90 by default")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="measured times of kernels")
    parser.add_argument(
        "--no-bytes", action="store_true", help="leave out the bytes of Triton's kernels, which take longest"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the results")
    options = parser.parse_args()
    chosen = options.what or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"{' and '.join(sorted(unknown))}: choose from {', '.join(PARTS)}.")
    tables = counted(chosen, options.target, bytes_too=not options.no_bytes)
    for name, table in tables.items():
        show(name, table)
    results, failed = judged(tables, bytes_too=not options.no_bytes)
    if options.compare is not None:
        compare(tables, json.loads(options.compare.read_text()))
    if options.json is not None:
        content = {
            "what": "counts and predictions by scripts/count_kernels.py; per slot, or per slot and tick",
            "target": options.target,
            "versions": {"torch": torch.__version__, "triton": triton.__version__},
            "chips": {name: vars(chip) for name, chip in model.CHIPS.items()},
            "tables": {name: as_json(table) for name, table in tables.items()},
            "goals": results,
        }
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return 1 if failed else 0


def counted(chosen: list[str], target: str, bytes_too: bool = True) -> dict[str, Table]:
    """Counts everything; returns the tables by name.

    Args:
        chosen: "chaos", "full", "train".
        target: name of the compiled target.
        bytes_too: whether to count the bytes of Triton's kernels, which are 0 otherwise.
    """
    counting = {what: sectors.start(what) for what in chosen} if bytes_too else {}
    tables: dict[str, Table] = {}
    for what in chosen:
        works = iteration(REALMS[what]) if what == "train" else {what: ticks(what, REALMS[what])}
        for name, work in works.items():
            tables[name] = Table(rows_of(work, target), work)
        if not bytes_too:
            continue
        counts = sectors.result(counting[what])
        for name, work in works.items():
            rows = tables[name].rows
            if what == "train":
                horizon = settings("chaos", 1).ppo.horizon
                traffic = of_part(counts, name, rows, work.samples, horizon)
                add_bytes(rows, traffic | dense.traffic(work.launches, work.samples))
            else:
                add_bytes(rows, of_tick(counts))
    return tables


def judged(tables: dict[str, Table], bytes_too: bool = True) -> tuple[list[dict[str, Any]], bool]:
    """Checks the goals whose tables were counted, and prints the results and what could not be counted.

    Returns the results, and whether a goal is missed or anything could not be counted."""
    results = []
    for goal in GOALS:
        if PARTS[goal.of][0] not in tables or (goal.of_bytes and not bytes_too):
            continue
        value = goal.value(tables)
        met = value <= goal.limit
        result = {"name": goal.name, "unit": goal.unit, "count": round(value, 1), "limit": goal.limit}
        results.append(result | {"met": met})
        text = f"{goal.name}: {value:,.1f} {goal.unit} (goal: at most {goal.limit:,.0f})"
        print(("ok     " if met else "MISSED ") + text)
    rows = [row for table in tables.values() for row in table.rows]
    failures = [f"{row.kernel}: {what}" for row in rows for what in row.unknown]
    for name in dict.fromkeys(name for row in rows for name in row.assumed):
        print(f"NOTE {name} is not in counting/model.py, and is taken for integer arithmetic")
    for failure in failures:
        print(f"UNKNOWN {failure}")
    return results, bool(failures) or not all(result["met"] for result in results)


if __name__ == "__main__":
    sys.exit(main())
