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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

os.environ["TRITON_INTERPRET"] = "0"
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

import torch
import triton
from counting import model, sectors
from counting.kernels import Row, of_part, of_tick, rows_of
from counting.work import REALMS, Work, iteration, settings, ticks

PARTS = {"chaos": ("chaos",), "full": ("full",), "train": ("rollout", "update")}
"""The tables of each argument."""


class Goal(NamedTuple):
    """An upper bound of a count."""

    table: str
    """The argument whose tables it concerns."""
    name: str
    unit: str
    limit: float
    count: Callable[[dict[str, Table]], float]
    """Returns the count, from the tables by name."""


@dataclass
class Table:
    """A tick, a rollout or an update."""

    rows: list[Row]
    work: Work

    def instructions(self, module: str = "") -> float:
        """Returns the warp-instructions per sample of all kernels whose module's name begins like this."""
        return sum(row.instructions for row in self.rows if row.module.startswith(module))

    @property
    def operations(self) -> int:
        """Number of torch operations and of launches of Triton kernels."""
        return self.work.operations.operations + len(self.work.launches)

    def outside_products(self) -> float:
        """Returns the bytes per sample outside matrix products, those of Triton's kernels included."""
        of_kernels = sum(row.read + row.written for row in self.rows if not row.products)
        return of_kernels + self.work.operations.sums(products=False).bytes / self.work.samples

    def torch_rows(self) -> list[dict[str, Any]]:
        """Returns the sums over torch's matrix products and over its other operations, per sample."""
        rows = []
        for name, products in (("matrix products", True), ("other torch operations", False)):
            total = self.work.operations.sums(products)
            limits = {
                chip.name: {
                    "bytes": total.bytes / chip.bandwidth / self.work.samples,
                    "tensor": total.flops / chip.matrix_rate / 1e3 / self.work.samples,
                    "launch": total.operations * chip.launch * 1e3 / self.work.samples,
                }
                for chip in model.CHIPS.values()
            }
            row = {
                "group": name, "operations": total.operations, "bytes": total.bytes / self.work.samples,
                "flops": total.flops / self.work.samples, "limits": limits,
                "predicted_ns": {chip: max(of_chip.values()) for chip, of_chip in limits.items()},
            }  # fmt: skip
            rows.append(row)
        return rows


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
        lambda tables: tables["rollout"].outside_products() + tables["update"].outside_products(),
    ),
    Goal(
        "train", "an update", "torch operations and launches", 3_000,
        lambda tables: tables["update"].operations,
    ),
)  # fmt: skip
"""What issue and design demand. Views and allocations are no operations, see ``counting/operations.py``."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="chaos | full | train", help="default: all three")
    parser.add_argument("--target", default="sm_90", help="a CUDA target, such as sm_80; sm_90 by default")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="measured times of kernels to compare with")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the results")
    options = parser.parse_args()
    chosen = options.what or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"{' and '.join(sorted(unknown))}: choose from {', '.join(PARTS)}.")
    tables = counted(chosen, options.target)
    for name, table in tables.items():
        show(name, table)
    results = checked(tables, chosen)
    for result in results:
        print(
            f"{'ok    ' if result['met'] else 'MISSED'} {result['name']}: {result['count']:,.0f} {result['unit']}"
            f" (goal: at most {result['limit']:,.0f})"
        )
    failures = [f"{row.kernel}: {what}" for table in tables.values() for row in table.rows for what in row.unknown]
    for failure in failures:
        print(f"UNKNOWN {failure}")
    if options.compare is not None:
        compare(tables, json.loads(options.compare.read_text()))
    if options.json is not None:
        options.json.write_text(as_json(tables, results, options.target))
    return 1 if failures or not all(result["met"] for result in results) else 0


def counted(chosen: list[str], target: str) -> dict[str, Table]:
    """Counts everything; returns the tables by name."""
    counting = {what: sectors.start(what) for what in chosen}
    tables: dict[str, Table] = {}
    for what in chosen:
        if what == "train":
            works = iteration(REALMS["train"])
            counts = sectors.result(counting[what])
            horizon = settings("chaos", 1).ppo.horizon
            for part, work in works.items():
                names = [launch.kernel.__name__ for launch in work.launches]
                launches = [(name, names.count(name)) for name in dict.fromkeys(names)]
                traffic = of_part(counts, part, launches, work.samples, horizon)
                tables[part] = Table(rows_of(work, traffic, target), work)
        else:
            work = ticks(what, REALMS[what])
            rows_of(work, {}, target)  # compiles while the bytes are counted
            tables[what] = Table(rows_of(work, of_tick(sectors.result(counting[what])), target), work)
    return tables


def checked(tables: dict[str, Table], chosen: list[str]) -> list[dict[str, Any]]:
    """Returns the goals of what was chosen, with the counts, and whether they are met."""
    results = []
    for goal in GOALS:
        if goal.table not in chosen:
            continue
        count = goal.count(tables)
        results.append(
            {
                "name": goal.name, "unit": goal.unit, "count": round(count, 1), "limit": goal.limit,
                "met": count <= goal.limit,
            }
        )  # fmt: skip
    return results


def show(name: str, table: Table) -> None:
    """Prints a table."""
    work = table.work
    print(f"== {name}: {len(work.launches)} launches, {work.operations.operations} torch operations")
    header = f"{'kernel':20}{'times':>6}{'warps':>6}{'regs':>5}{'CTA/SM':>7}{'instr':>8}{'read':>8}{'written':>8}"
    print(header + f"{'moved':>8}" + "".join(f"{chip + ', ns':>10} {'limit':13}" for chip in model.CHIPS))
    for row in table.rows:
        counts = f"{row.kernel:20}{row.launches:6}{row.warps:6}{row.registers:5}{row.resident:7}"
        counts += f"{row.instructions:8.1f}{row.read:8.1f}{row.written:8.1f}{row.moved:8.1f}"
        times = "".join(f"{row.predicted(chip):10.4f} {row.bound(chip)[:13]:13}" for chip in model.CHIPS)
        print((counts + times + ("  UNKNOWN" if row.unknown else "")).rstrip())
    total = f"{'all kernels':44}{table.instructions():8.1f}"
    for key in ("read", "written", "moved"):
        total += f"{sum(getattr(row, key) for row in table.rows):8.1f}"
    print(total + "".join(f"{sum(row.predicted(c) for row in table.rows):10.4f} {'':13}" for c in model.CHIPS))
    for group in table.torch_rows():
        text = f"{group['group']:24}{group['operations']:6} operations,{group['bytes']:10.1f} bytes"
        if group["flops"]:
            text += f", {group['flops'] / 1e6:.2f} MFLOP"
        print(text + "".join(f"; {chip} {ns:.4f} ns" for chip, ns in group["predicted_ns"].items()))
    print(f"outside matrix products {table.outside_products():,.0f} bytes; everything", end=" ")
    print("; ".join(f"{chip} {predicted(table, chip):.3f} ns" for chip in model.CHIPS))
    print()


def predicted(table: Table, chip: str) -> float:
    """Returns the predicted ns per sample of everything in a table."""
    of_torch = sum(group["predicted_ns"][chip] for group in table.torch_rows())
    return sum(row.predicted(chip) for row in table.rows) + float(of_torch)


def compare(tables: dict[str, Table], measured: dict[str, Any]) -> None:
    """Prints predicted and measured times of each kernel on an H100.

    Args:
        tables: what was counted.
        measured: the figures of ``scripts/gpu_check.py`` (its summary.json), or docs/benchmarks/h100.json.
    """
    print(f"{'ns per slot and tick':30}{'predicted':>10}{'measured':>10}{'ratio':>7}  limit")
    for name, table in tables.items():
        step, part = ("kernels-env", "environment") if name == "chaos" else ("kernels-train", name)
        found = next(
            (group[step] for group in (measured.get("after", {}), measured.get("before", {}), measured) if step in group),
            None,
        )
        if found is None or part not in found["tables"]:
            continue
        times = found["tables"][part]["kernels"]
        for row in table.rows:
            if row.kernel in times:
                ratio = times[row.kernel] / row.predicted("H100")
                print(
                    f"{name + ' ' + row.kernel:30}{row.predicted('H100'):10.4f}{times[row.kernel]:10.4f}{ratio:7.2f}"
                    f"  {row.bound('H100')}"
                )
        of_kernels = sum(times.get(row.kernel, 0.0) for row in table.rows)
        guess = sum(row.predicted("H100") for row in table.rows if row.kernel in times)
        print(f"{name + ', these kernels':30}{guess:10.4f}{of_kernels:10.4f}{of_kernels / guess:7.2f}")
        if part != "environment":
            whole = found["tables"][part]["whole"]
            guess = predicted(table, "H100")
            print(f"{name + ', everything':30}{guess:10.4f}{whole:10.4f}{whole / guess:7.2f}")


def as_json(tables: dict[str, Table], results: list[dict[str, Any]], target: str) -> str:
    """Returns the results as JSON."""
    return (
        json.dumps(
            {
                "what": "counts and predictions by scripts/count_kernels.py; per slot, or per slot and tick",
                "target": target,
                "versions": {"torch": torch.__version__, "triton": triton.__version__},
                "chips": {name: vars(chip) for name, chip in model.CHIPS.items()},
                "tables": {name: _json_of(table) for name, table in tables.items()},
                "goals": results,
            },
            indent=1,
        )
        + "\n"
    )


def _json_of(table: Table) -> dict[str, Any]:
    def short(number: float) -> float:
        return float(f"{number:.4g}")

    kernels = []
    for row in table.rows:
        of_chips = {
            chip: {"ns": short(row.predicted(chip)), "limit": row.bound(chip)} for chip in model.CHIPS
        }
        kernels.append(
            {
                "kernel": row.kernel, "module": row.module, "launches": row.launches, "programs": row.programs,
                "warps": row.warps, "registers": row.registers, "shared": row.shared, "resident": row.resident,
                "instructions": short(row.instructions), "read": short(row.read),
                "written": short(row.written), "moved": short(row.moved), "predicted": of_chips,
                "limits": {name: short(ns) for name, ns in row.limits["H100"].items()},
            }
        )  # fmt: skip
    groups = [
        {
            "group": group["group"], "operations": group["operations"], "bytes": short(group["bytes"]),
            "flops": short(group["flops"]), "predicted": {c: short(n) for c, n in group["predicted_ns"].items()},
        }
        for group in table.torch_rows()
    ]  # fmt: skip
    return {
        "samples": table.work.samples, "launches": len(table.work.launches),
        "torch_operations": table.work.operations.operations,
        "instructions": short(table.instructions()),
        "bytes_outside_products": short(table.outside_products()),
        "predicted": {chip: short(predicted(table, chip)) for chip in model.CHIPS},
        "kernels": kernels, "torch": groups,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
