"""Compiles launches, and counts what each kernel takes per sample."""

from __future__ import annotations

import concurrent.futures
import os
import struct
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

TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm"


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
    operands: float = 0.0
    """Bytes per sample of the operands and the result of a matrix product in the kernel."""
    limits: dict[str, dict[str, float]] = field(default_factory=dict)
    """``chip -> limit -> ns per sample``."""
    unknown: list[str] = field(default_factory=list)
    """What could not be counted."""
    assumed: list[str] = field(default_factory=list)
    """Operations that are taken for integer arithmetic."""

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
    compiled = compiled_forms([launch for launch, _, _ in forms], target)
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
        row.assumed += [name for name in form.cost.assumed if name not in row.assumed]
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
        traffic: ``kernel -> {"read", "written", "moved"}``, bytes per sample, and perhaps "operands".
    """
    for row in rows:
        if row.kernel not in traffic:
            row.unknown.append("bytes")
            continue
        found = traffic[row.kernel]
        row.read, row.written, row.moved = (found[key] for key in ("read", "written", "moved"))
        row.operands = found.get("operands", 0.0)
        for name, chip in model.CHIPS.items():
            row.limits[name]["bytes"] = row.moved / chip.bandwidth


def form_key(launch: Launch) -> str:
    """Returns what distinguishes the compiled code of a launch."""
    return repr((launch.kernel.fn.__module__, launch.kernel.__name__, source_parts(launch), launch.warps))


def compiled_forms(launches: list[Launch], target: str) -> list[Form]:
    """Compiles launches and counts what each takes.

    Args:
        launches: the launches.
        target: name of the compiled target, such as "sm_90".
    """
    if not launches:
        return []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(lambda launch: _compiled(launch, target), launches))
    codes = disassembled([kernel.asm["cubin"] for kernel in made], int(target.removeprefix("sm_")))
    return [
        Form(use.registers, use.shared, model.cost_of(code, sass.trace(code)))
        for use, code in zip(map(usage, made), codes, strict=True)
    ]


def _compiled(launch: Launch, target: str) -> Any:
    signature, constants, attributes = source_parts(launch)
    source = ASTSource(launch.kernel, signature, constants, attributes)
    options = {"num_warps": launch.warps, "enable_fp_fusion": FUSED_ROUNDING}
    return triton.compile(source, target=TARGETS[target], options=options)


def disassembled(cubins: list[bytes], capability: int) -> list[list[sass.Instruction]]:
    """Returns the instructions of each of some compiled kernels.

    All are disassembled in one call, one behind the other, because a call takes longer to start than to run.

    Args:
        cubins: the kernels.
        capability: for which GPU they were compiled, such as 90.
    """
    parts = [machine_code(cubin) for cubin in cubins]
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(parts))
        file.flush()
        # Triton compiles for the variant with the features of one generation, "a", where there is one.
        architecture = f"SM{capability}" + ("a" if capability >= 90 else "")
        command = [str(TOOL), "-b", architecture, "-hex", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    code, found, end = sass.parse(text), [], 0
    for part in parts:
        start, end = end, end + len(part)
        found.append([instruction for instruction in code if start <= instruction.address < end])
    return found


def machine_code(cubin: bytes) -> bytes:
    """Returns the section of a compiled kernel (an ELF file of 64 bits) that has its instructions.

    Raises ValueError if there is not exactly one."""
    (table,) = struct.unpack_from("<Q", cubin, 0x28)
    size, number, names_at = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + k * size) for k in range(number)]
    names = cubin[sections[names_at][4] :]
    found = [
        cubin[at : at + length] for name, *_, at, length in sections if names[name:].startswith(b".text.")
    ]
    if len(found) != 1:
        raise ValueError(f"the compiled kernel has {len(found)} sections of instructions, not one.")
    return found[0]


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
