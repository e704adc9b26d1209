#!/usr/bin/env python
"""Compiles every kernel for several GPUs, without a GPU, and prints the resources that each uses.

    python scripts/compile_kernels.py                       # sm_80, sm_90, sm_100, gfx942
    python scripts/compile_kernels.py --targets sm_90 --kernels _windows

The launches are those of the environment and the trainer, which run with a recorder in place of a GPU.
Registers are per thread, spills in bytes per thread, shared memory in bytes per program. Exit status 1 if a
kernel does not compile or spills registers.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = "0"

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from nmmo_gpu.kernels.launch import FUSED_ROUNDING, Launch
from nmmo_gpu.kernels.train.tiles import for_target
from nmmo_gpu.train import compile
from nmmo_gpu.train.launches import all_launches

TARGETS = {name: GPUTarget(*target) for name, target in compile.TARGETS.items()}

TYPES = {
    torch.bool: "i1", torch.uint8: "u8", torch.int8: "i8", torch.int16: "i16", torch.int32: "i32",
    torch.int64: "i64", torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32",
}  # fmt: skip


@dataclass(frozen=True)
class Use:
    """Resources used by a compiled kernel."""

    registers: int
    """Registers per thread."""
    spills: int
    """Spilled bytes per thread."""
    shared: int
    """Bytes of shared memory per program."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--kernels", nargs="+", help="function names of the kernels to compile; default all")
    options = parser.parse_args()
    jobs = {
        (target, name, variant): launch
        for (name, variant), launch in distinct(all_launches()).items()
        for target in options.targets
        if not options.kernels or name in options.kernels
    }
    failures = 0
    rows: dict[tuple[str, str], dict[str, Use | str]] = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda job: compiled(jobs[job], job[0]), jobs)
        for (target, name, variant), use in zip(jobs, results, strict=True):
            rows.setdefault((name, variant), {})[target] = use
    print(f"{'kernel':24} {'setting':36} {'target':8} registers spills  shared")
    for (name, variant), uses in rows.items():
        for target, use in uses.items():
            if isinstance(use, str):
                print(f"{name:24} {variant:36} {target:8} FAILED: {use}")
                failures += 1
                continue
            numbers = f"{use.registers:9} {use.spills:6} {use.shared:7}"
            print(f"{name:24} {variant:36} {target:8} {numbers}" + ("  SPILLS" if use.spills else ""))
            failures += use.spills > 0
    print(f"{len(jobs)} compiled with triton {triton.__version__}, {failures} failed or spilled")
    return 1 if failures else 0


def distinct(launches: dict[str, list[Launch]]) -> dict[tuple[str, str], Launch]:
    """Returns (kernel name, setting of the launch) -> launch, with each distinct specialization once."""
    seen: dict[str, tuple[str, str]] = {}
    chosen = {}
    for setting, made in launches.items():
        for launch in made:
            form = repr((launch.kernel.__name__, source_parts(launch), launch.warps))
            if form not in seen:
                seen[form] = (launch.kernel.__name__, setting)
                key = seen[form]
                number = 2
                while key in chosen:
                    key = (key[0], f"{setting} #{number}")
                    number += 1
                chosen[key] = launch
    return chosen


def source_parts(launch: Launch) -> tuple[dict[str, Any], dict[tuple[int, ...], Any], dict[Any, Any]]:
    """Returns (signature, constants, attributes) to which a launch on a GPU would specialize the kernel.

    Keys of constants and attributes are the parameter's index, followed by the element's index in a tuple."""
    names = launch.kernel.arg_names
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[Any, Any] = {}

    def type_of(value: Any, place: tuple[int, ...]) -> Any:
        if isinstance(value, tuple):
            return type(value)(*(type_of(element, (*place, n)) for n, element in enumerate(value)))
        if isinstance(value, Tensor):
            attributes[place] = [["tt.divisibility", 16]]
            return "*" + TYPES[value.dtype]
        if isinstance(value, float):
            return "fp32"
        if value == 1:
            constants[place] = 1
            return "constexpr"
        if value % 16 == 0:
            attributes[place] = [["tt.divisibility", 16]]
        return "i32" if -(1 << 31) <= value < 1 << 31 else "i64"

    signature = {
        name: type_of(value, (place,))
        for place, (name, value) in enumerate(zip(names, launch.arguments, strict=False))
    }
    for name, value in launch.constants.items():
        signature[name] = "constexpr"
        constants[(names.index(name),)] = value
    return {name: signature[name] for name in names}, constants, attributes


def compiled(launch: Launch, target: str) -> Use | str:
    """Compiles a launch; returns its resources, or an error message."""
    launch = for_target(launch, target)
    signature, constants, attributes = source_parts(launch)
    try:
        source = ASTSource(launch.kernel, signature, constants, attributes)
        options = {"num_warps": launch.warps, "enable_fp_fusion": FUSED_ROUNDING}
        made = triton.compile(source, target=TARGETS[target], options=options)
    except Exception as error:  # any error of the compiler is reported
        return f"{type(error).__name__}: {str(error).splitlines()[-1] if str(error) else ''}"
    return usage(made)


def usage(made: Any) -> Use:
    """Reads the resource report of a compiled kernel."""
    if "cubin" in made.asm:
        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(made.asm["cubin"])
            file.flush()
            command = [str(tool), "--dump-resource-usage", file.name]
            report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", report)}
        # No kernel has local arrays, so everything on the stack is spilled registers.
        spills = found["STACK"] + found["LOCAL"]
        return Use(found["REG"], spills, made.metadata.shared)
    text = made.asm["amdgcn"]

    def field(name: str) -> int:
        return int(re.findall(rf"\.{name}:\s*(\d+)", text)[0])

    registers = field("vgpr_count")
    spills = field("vgpr_spill_count") + field("sgpr_spill_count")
    return Use(registers, max(spills, field("private_segment_fixed_size")), made.metadata.shared)


if __name__ == "__main__":
    sys.exit(main())
