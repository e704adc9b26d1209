"""Compiles launches, and counts what each kernel takes per sample."""

from __future__ import annotations

import concurrent.futures
import functools
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triton
from compile_kernels import TARGETS, source_parts, usage
from triton.compiler import ASTSource

from counting import model, sass
from counting.work import Work, repeated
from nmmo_gpu.kernels.launch import FUSED_ROUNDING, Launch

TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


@dataclass(frozen=True)
class Form:
    """A compiled kernel."""

    registers: int
    """Per thread."""
    shared: int
    """Bytes of shared memory per program."""
    cost: model.Cost
    """What a program takes."""


@dataclass
class Row:
    """All launches of a kernel."""

    kernel: str
    module: str
    launches: int = 0
    programs: int = 0
    warps: int = 0
    """Per program; the maximum of all forms of the kernel, like the following two."""
    registers: int = 0
    shared: int = 0
    resident: int = 1 << 30
    """Programs that a multiprocessor holds; the minimum of all forms."""
    instructions: float = 0.0
    """Warp-instructions per sample."""
    read: float = 0.0
    """Bytes per sample, in sectors of 32."""
    written: float = 0.0
    moved: float = 0.0
    """Bytes per sample that memory reads or writes; see ``counting.sectors``."""
    limits: dict[str, dict[str, float]] = field(default_factory=dict)
    """``chip -> limit -> ns per sample``."""
    unknown: list[str] = field(default_factory=list)
    """What could not be counted."""

    @property
    def products(self) -> bool:
        """Whether the kernel multiplies matrices on tensor cores."""
        return any("tensor" in limits for limits in self.limits.values())

    def predicted(self, chip: str) -> float:
        """Returns the predicted ns per sample."""
        return max(self.limits[chip].values())

    def bound(self, chip: str) -> str:
        """Returns the name of the largest limit."""
        limits = self.limits[chip]
        return max(limits, key=limits.__getitem__)


def rows_of(work: Work, target: str) -> list[Row]:
    """Returns a row for each kernel, in the order of their first launches, without bytes.

    Args:
        work: the launches.
        target: name of the compiled target, such as "sm_90".
    """
    forms = repeated(work.launches, form_key)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = list(pool.map(lambda form: compiled_form(form[0], target), forms))
    rows: dict[str, Row] = {}
    for (launch, launches, programs), form in zip(forms, compiled, strict=True):
        name = launch.kernel.__name__
        row = rows.setdefault(name, Row(name, launch.kernel.fn.__module__))
        held = model.resident(form.registers, form.shared, launch.warps)
        row.launches += launches
        row.programs += programs
        row.warps = max(row.warps, launch.warps)
        row.registers = max(row.registers, form.registers)
        row.shared = max(row.shared, form.shared)
        row.resident = min(row.resident, held)
        row.instructions += form.cost.instructions * launch.warps * programs / work.samples
        row.unknown += [what for what in form.cost.unknown if what not in row.unknown]
        for name, chip in model.CHIPS.items():
            sums = row.limits.setdefault(name, {})
            found = model.limits(
                chip, form.cost, warps=launch.warps, programs=programs, launches=launches, resident=held
            )
            for limit, ns in found.items():
                sums[limit] = sums.get(limit, 0.0) + ns / work.samples
    return list(rows.values())


def add_bytes(rows: list[Row], traffic: dict[str, dict[str, float]]) -> None:
    """Adds the bytes to rows; those of a kernel without any are unknown.

    Args:
        rows: the rows.
        traffic: ``kernel -> {"read", "written", "moved"}``, bytes per sample.
    """
    for row in rows:
        if row.kernel not in traffic:
            row.unknown.append("bytes")
            continue
        row.read, row.written, row.moved = (traffic[row.kernel][key] for key in ("read", "written", "moved"))
        for name, chip in model.CHIPS.items():
            row.limits[name]["bytes"] = row.moved / chip.bandwidth


def form_key(launch: Launch) -> str:
    """Returns what distinguishes the compiled code of a launch."""
    return repr((launch.kernel.fn.__module__, launch.kernel.__name__, source_parts(launch), launch.warps))


def compiled_form(launch: Launch, target: str) -> Form:
    """Compiles a launch and counts."""
    signature, constants, attributes = source_parts(launch)
    source = ASTSource(launch.kernel, signature, constants, attributes)
    options = {"num_warps": launch.warps, "enable_fp_fusion": FUSED_ROUNDING}
    made = triton.compile(source, target=TARGETS[target], options=options)
    use = usage(made)
    code = sass.parse(disassembled(made.asm["cubin"]))
    return Form(use.registers, use.shared, model.cost_of(code, sass.trace(code)))


@functools.cache
def disassembled(cubin: bytes) -> str:
    """Returns the machine code of a cubin as ``cuobjdump -sass`` prints it."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(TOOL), "-sass", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def of_tick(counts: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Returns the bytes per sample by kernel from ``counting.sectors.tick``."""
    keys = ("read", "written", "moved")
    return {
        name: {key: traffic[key] / counts["slots"] for key in keys}
        for name, traffic in counts["kernels"].items()
    }


def of_part(
    counts: dict[str, Any], part: str, rows: list[Row], samples: int, horizon: int
) -> dict[str, dict[str, float]]:
    """Returns the bytes per sample by kernel from ``counting.sectors.iteration``, for more realms and ticks.

    The bytes of a launch are a part that grows with its samples, and one that does not, such as weights.

    Args:
        counts: the counts.
        part: "rollout" or "update".
        rows: those of the real iteration.
        samples: its slots times ticks.
        horizon: its ticks.
    """
    more, less = counts["counts"]
    result: dict[str, dict[str, float]] = {}
    for row in rows:
        name, launches = row.kernel, row.launches
        if name not in more[part]:
            continue
        here, fewer = more[part][name], less[part][name]
        # A rollout's launches have the slots of one tick; those of an update share the samples.
        repeats = (launches / horizon) / (here["launches"] / counts["horizon"]) if part == "rollout" else 1.0
        result[name] = {}
        for key in ("read", "written", "moved"):
            growing = (here[key] - fewer[key]) / (more["samples"] - less["samples"])
            fixed = max(0.0, here[key] - growing * more["samples"]) / here["launches"]
            result[name][key] = growing * repeats + fixed * launches / samples
    return result
