"""Predicts the time of a kernel from counts: the largest of five limits.

- issue: a quarter of a multiprocessor issues at most one warp-instruction per cycle.
- a pipeline: most instructions need one for more than a cycle; integer arithmetic two, for example, because
  it has 16 lanes.
- bytes: what all launches read and write, over the memory's bandwidth.
- latency: a warp waits for the results of its loads. The time of one warp follows from the order of its
  instructions and the barriers that the compiler has them wait for; all warps that fit on the device run at
  the same time.
- launch: a kernel takes some time to start and end, whatever it does.

What is not modeled: conflicts of banks and of atomics, addresses that are spread over many sectors in the
first-level cache, cache misses across launches, the tail of the last programs, and that limits add up where
they do not overlap.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass

from counting.sass import Instruction, Trace

QUARTERS = 4
"""Parts of a multiprocessor that issue independently."""

OPERATIONS = (
    ("alu", 2, "IADD3 LOP3 LOP SHF ISETP SEL PRMT LEA VIADD VIMNMX VIMNMX3 IMNMX VIADDMNMX PLOP3 P2R R2P "
     "SGXT IABS FSETP HSETP2 FMNMX FMNMX3 FSEL CSEL MOV BMSK F2FP I2FP VABSDIFF VOTE VOTEU FCHK BREV R2UR"),
    ("fma, integers", 2, "IMAD IMUL CS2R"),
    ("fma", 1, "FFMA FADD FMUL HFMA2 HADD2 HMUL2 HMNMX2 FFMA2 FADD2 FMUL2 FSWZADD"),
    ("fp64", 2, "DADD DMUL DFMA DSETP DMNMX"),
    ("special functions", 8, "MUFU I2F F2I F2F FRND POPC FLO"),
    ("memory", 4, "LDG STG LDS STS LDSM STSM SHFL ATOM ATOMG ATOMS RED REDG REDUX CREDUX LD ST LDL STL "
     "LDGSTS S2R MATCH"),
    ("constants", 4, "LDC"),
    ("uniform", 2, "UIADD3 UIMAD ULOP3 USHF UISETP UMOV ULEA USEL UPRMT UPLOP3 UP2UR UR2UP UIABS ULDC LDCU "
     "UFLO UPOPC UVIADD UBMSK USGXT UVIMNMX UIMNMX S2UR"),
    ("control", 1, "BRA EXIT BSSY BSYNC BREAK BAR WARPSYNC CALL RET NANOSLEEP YIELD ERRBAR MEMBAR DEPBAR "
     "LDGDEPBAR SYNCS FENCE CCTL ARRIVES WARPGROUP WARPGROUPSET ELECT BMOV UTMALDG UTMASTG UTMACMDFLUSH "
     "ACQBULK"),
)  # fmt: skip
"""``(pipeline, cycles of a quarter for which an instruction keeps it busy, operations)``."""
PIPELINES = {name: (pipeline, cycles) for pipeline, cycles, names in OPERATIONS for name in names.split()}

LATENCIES = {
    "LDG": 500, "LD": 500, "ATOM": 700, "ATOMG": 700, "LDL": 500, "LDS": 30, "LDSM": 33, "ATOMS": 60,
    "SHFL": 25, "REDUX": 25, "MUFU": 20, "I2F": 20, "F2I": 20, "POPC": 20, "FLO": 20, "S2R": 25, "S2UR": 25,
    "LDC": 30, "R2UR": 12, "STG": 20, "STS": 20, "REDG": 20,
}  # fmt: skip
"""Cycles until the result of an operation is there, if the compiler has others wait for it. Those of global
memory are between those of the second-level cache and of DRAM."""
CACHED = 40
"""Cycles of a load that a loop repeats; most read tables, which are then in the first-level cache."""
USUAL_LATENCY = 20
BARRIER = 20
"""Cycles that a program's warps need to meet."""


@dataclass(frozen=True)
class Chip:
    """What a GPU can do."""

    name: str
    multiprocessors: int
    clock: float
    """GHz, under load."""
    bandwidth: float
    """GB/s that kernels reach."""
    matrix_rate: float
    """TFLOP/s of bf16 that matrix products reach."""
    launch: float
    """Microseconds that the shortest kernel takes."""


CHIPS = {
    "H100": Chip("H100", 132, 1.98, 3000.0, 800.0, 2.0),
    "H200": Chip("H200", 132, 1.98, 4300.0, 800.0, 2.0),
}
"""SXM boards. The H100's clock and rates are those measured (docs/performance.md), the H200's bandwidth is
that of a copy; both chips have the same multiprocessors."""


@dataclass(frozen=True)
class Cost:
    """What one program of a kernel takes."""

    instructions: int
    """Warp-instructions per warp."""
    pipelines: dict[str, int]
    """Cycles by pipeline, per warp."""
    alone: int
    """Cycles of a warp that has the device for itself."""
    unknown: tuple[str, ...]
    """What could not be counted: loops of unknown length."""
    assumed: tuple[str, ...]
    """Operations whose pipeline is unknown, which are taken for integer arithmetic."""


def cost_of(code: list[Instruction], traced: Trace) -> Cost:
    """Returns the cost of a kernel.

    Args:
        code: all its instructions.
        traced: their trace.
    """
    pipelines: collections.Counter[str] = collections.Counter()
    start = code[0].address
    unknown = tuple(f"loop that ends at {address - start:#x}" for address in traced.unknown_loops)
    assumed: dict[str, None] = {}
    for instruction in code:
        runs = traced.runs.get(instruction.address, 0)
        use = _use(instruction)
        if use is None and runs:
            assumed[instruction.operation] = None
        pipeline, cycles = use or PIPELINES["IADD3"]
        pipelines[pipeline] += cycles * runs
    return Cost(sum(traced.runs.values()), dict(pipelines), _alone(traced.order), unknown, tuple(assumed))


def _use(instruction: Instruction) -> tuple[str, int] | None:
    """Returns the pipeline of an instruction and the cycles for which it needs that; None if unknown."""
    operation, modifiers = instruction.operation, instruction.modifiers
    if operation in ("HMMA", "IMMA", "QMMA"):  # [16, 8] += [16, k] [k, 8], 512 products of bf16 per cycle
        depths = {"1684": 4, "1688": 8, "16816": 16, "16832": 32, "16864": 64}
        depth = next(depths[part] for part in modifiers if part in depths)
        return "tensor", max(1, 16 * 8 * depth // 512)
    if operation in ("HGMMA", "QGMMA", "IGMMA"):  # four warps, one in each quarter
        rows, columns, depth = map(int, next(part for part in modifiers if part.count("x") == 2).split("x"))
        return "tensor", max(1, rows * columns * depth // (4 * 512))
    use = PIPELINES.get(operation)
    if use is None:
        return None
    # The first-level cache moves 128 bytes per cycle: 32 words.
    wide = {"64": 2, "128": 4}.get(next(iter(modifiers & {"64", "128"}), ""), 1)
    return (use[0], use[1] * wide) if use[0] == "memory" else use


def _alone(order: list[Instruction]) -> int:
    """Returns the cycles in which one warp runs a trace, with loads from global memory."""
    now, free = 0, [0] * 6
    loaded: set[int] = set()
    for instruction in order:
        waits = instruction.waits_for
        now = max([now, *(free[barrier] for barrier in range(6) if waits >> barrier & 1)])
        latency = LATENCIES.get(instruction.operation, USUAL_LATENCY)
        if instruction.operation == "LDG":
            latency = CACHED if instruction.address in loaded else latency
            loaded.add(instruction.address)
        if instruction.set_when_written < 6:
            free[instruction.set_when_written] = max(free[instruction.set_when_written], now + latency)
        if instruction.set_when_read < 6:
            free[instruction.set_when_read] = max(free[instruction.set_when_read], now + USUAL_LATENCY)
        now += max(1, instruction.stall)
        if instruction.operation == "BAR":
            now += BARRIER
    return max([now, *free])


def resident(registers: int, shared: int, warps: int) -> int:
    """Returns how many programs a multiprocessor of sm_90 holds at the same time.

    Args:
        registers: per thread.
        shared: bytes of shared memory per program.
        warps: per program.
    """
    of_warp = -(-max(registers, 1) * 32 // 256) * 256
    return min(65_536 // (of_warp * warps), 64 // warps, 32, 228 * 1024 // (shared + 1024))


def limits(
    chip: Chip, cost: Cost, *, warps: int, programs: int, launches: int, resident: int
) -> dict[str, float]:
    """Returns the nanoseconds that each limit but that of the bytes would take, for all launches of a kernel.

    Args:
        chip: the GPU.
        cost: what a program takes.
        warps: warps per program.
        programs: programs of all launches.
        launches: number of launches.
        resident: programs that a multiprocessor holds.
    """
    quarters = chip.multiprocessors * QUARTERS * chip.clock
    all_warps = warps * programs
    found = {"issue": cost.instructions * all_warps / quarters}
    found |= {name: cycles * all_warps / quarters for name, cycles in cost.pipelines.items()}
    rounds = max(programs / (chip.multiprocessors * resident), launches)
    found["latency"] = cost.alone * rounds / chip.clock
    found["launch"] = launches * chip.launch * 1e3
    return found
