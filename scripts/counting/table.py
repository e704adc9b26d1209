"""Tables of counts: printed, compared with measurements, and in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from counting import model
from counting.kernels import Row
from counting.work import Work


@dataclass
class Group:
    """The sums over some of torch's operations."""

    name: str
    operations: int
    bytes: float
    """Per sample."""
    flops: float
    """Per sample."""
    predicted: dict[str, float]
    """``chip -> ns per sample``: the largest of the limits by bytes, by arithmetic and by launches."""


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
        of_kernels = sum(row.read + row.written - row.operands for row in self.rows)
        return of_kernels + self.work.operations.sums(products=False).bytes / self.work.samples

    def groups(self) -> list[Group]:
        """Returns the sums over torch's matrix products and over its other operations."""
        found = []
        for name, products in (("matrix products", True), ("other torch operations", False)):
            total, samples = self.work.operations.sums(products), self.work.samples
            predicted = {
                chip.name: max(
                    total.bytes / chip.bandwidth,
                    total.flops / chip.matrix_rate / 1e3,
                    total.operations * chip.launch * 1e3,
                )
                / samples
                for chip in model.CHIPS.values()
            }
            found.append(
                Group(name, total.operations, total.bytes / samples, total.flops / samples, predicted)
            )
        return found

    def predicted(self, chip: str) -> float:
        """Returns the predicted ns per sample of everything."""
        of_torch = sum(group.predicted[chip] for group in self.groups())
        return sum(row.predicted(chip) for row in self.rows) + of_torch


def show(name: str, table: Table) -> None:
    """Prints a table."""
    work = table.work
    print(f"== {name}: {len(work.launches)} launches, {work.operations.operations} torch operations")
    header = f"{'kernel':20}{'times':>6}{'warps':>6}{'regs':>5}{'CTA/SM':>7}"
    header += "".join(f"{key:>8}" for key in ("instr", "read", "written", "moved"))
    print(header + "".join(f"{chip + ', ns':>10} {'limit':13}" for chip in model.CHIPS).rstrip())
    for row in table.rows:
        counts = f"{row.kernel:20}{row.launches:6}{row.warps:6}{row.registers:5}{row.resident:7}"
        counts += f"{row.instructions:8.1f}{row.read:8.1f}{row.written:8.1f}{row.moved:8.1f}"
        times = "".join(f"{row.predicted(chip):10.4f} {row.bound(chip)[:13]:13}" for chip in model.CHIPS)
        print((counts + times + ("  UNKNOWN" if row.unknown else "")).rstrip())
    total = f"{'all kernels':44}{table.instructions():8.1f}"
    for key in ("read", "written", "moved"):
        total += f"{sum(getattr(row, key) for row in table.rows):8.1f}"
    times_of_chips = [sum(row.predicted(chip) for row in table.rows) for chip in model.CHIPS]
    print(total + "".join(f"{ns:10.4f} {'':13}" for ns in times_of_chips).rstrip())
    for group in table.groups():
        text = f"{group.name:24}{group.operations:6} operations,{group.bytes:10.1f} bytes"
        text += f", {group.flops / 1e6:.2f} MFLOP" if group.flops else ""
        print(text + "".join(f"; {chip} {ns:.4f} ns" for chip, ns in group.predicted.items()))
    everything = "; ".join(f"{chip} {table.predicted(chip):.3f} ns" for chip in model.CHIPS)
    print(f"outside matrix products {table.outside_products():,.0f} bytes; everything {everything}\n")


def compare(tables: dict[str, Table], measured: dict[str, Any]) -> None:
    """Prints predicted and measured times of each kernel on an H100.

    Args:
        tables: what was counted.
        measured: the figures of ``scripts/gpu_check.py`` (its summary.json), or docs/benchmarks/h100.json.
    """
    print(f"{'ns per slot and tick':30}{'predicted':>10}{'measured':>10}{'ratio':>7}  limit")
    groups = [group for group in (measured.get("after"), measured.get("before"), measured) if group]
    for name, table in tables.items():
        step, part = ("kernels-env", "environment") if name == "chaos" else ("kernels-train", name)
        found: dict[str, Any] = next((group[step]["tables"] for group in groups if step in group), {})
        if part not in found:
            continue
        times = found[part]["kernels"]
        rows = [row for row in table.rows if row.kernel in times]
        for row in rows:
            print(_line(f"{name} {row.kernel}", row.predicted("H100"), times[row.kernel]), row.bound("H100"))
        predicted = sum(row.predicted("H100") for row in rows)
        print(_line(f"{name}, these kernels", predicted, sum(times[row.kernel] for row in rows)))
        if part != "environment":  # whose whole includes the choice of random actions
            print(_line(f"{name}, everything", table.predicted("H100"), found[part]["whole"]))


def _line(title: str, predicted: float, measured: float) -> str:
    return f"{title:30}{predicted:10.4f}{measured:10.4f}{measured / predicted:7.2f} "


def as_json(table: Table) -> dict[str, Any]:
    """Returns a table for JSON."""
    return {
        "samples": table.work.samples, "launches": len(table.work.launches),
        "torch_operations": table.work.operations.operations, "instructions": short(table.instructions()),
        "bytes_outside_products": short(table.outside_products()),
        "predicted": {chip: short(table.predicted(chip)) for chip in model.CHIPS},
        "kernels": [_row_as_json(row) for row in table.rows],
        "torch": [
            {
                "group": group.name, "operations": group.operations, "bytes": short(group.bytes),
                "flops": short(group.flops),
                "predicted": {chip: short(ns) for chip, ns in group.predicted.items()},
            }
            for group in table.groups()
        ],
    }  # fmt: skip


def _row_as_json(row: Row) -> dict[str, Any]:
    kept = ("kernel", "module", "launches", "programs", "warps", "registers", "shared", "resident")
    counts = ("instructions", "read", "written", "moved")
    predicted = {chip: {"ns": short(row.predicted(chip)), "limit": row.bound(chip)} for chip in model.CHIPS}
    return (
        {name: getattr(row, name) for name in kept}
        | {name: short(getattr(row, name)) for name in counts}
        | {"predicted": predicted, "limits": {name: short(ns) for name, ns in row.limits["H100"].items()}}
    )


def short(number: float) -> float:
    """Returns a number with four significant digits."""
    return float(f"{number:.4g}")
