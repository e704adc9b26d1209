"""The work of the GPU does not grow unnoticed: instructions are counted in the machine code, and the script
fails if a goal is missed or something cannot be counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.helpers import KERNEL_DEVICE

pytest.importorskip("triton")

import triton
import triton.language as tl

from nmmo_gpu.kernels.launch import INTERPRETED, launch

SCRIPTS = Path(__file__).parents[2] / "scripts"

BOUNDS = {
    "nmmo_gpu.kernels.observation": 200, "nmmo_gpu.kernels.observation_windows": 75,
    "nmmo_gpu.kernels.observation_neighbors": 70, "nmmo_gpu.kernels.tick": 30,
}  # fmt: skip
"""``module -> warp-instructions per agent`` that its kernels, and those of modules whose names begin like it,
may take together in a tick of chaos, with any version of Triton."""

DRIVER = """
import json, sys
import count_kernels as script
from counting.kernels import compiled_forms
from nmmo_gpu.kernels.launch import Launch
import torch, triton, triton.language as tl

bounds, ticks = json.loads(sys.argv[1]), script.ticks

def few(*settings):
    work = ticks(*settings)
    work.launches = [one for one in work.launches if one.kernel.fn.__module__ in bounds]
    return work

def goal(module, limit):
    return script.Goal("chaos", module, "instructions", limit, lambda t: t["chaos"].instructions(module))

script.ticks = few
tables = script.counted(["chaos"], "sm_90", bytes_too=False)
rows = tables["chaos"].rows
found = {"rows": [[row.kernel, row.instructions, row.registers, list(row.unknown)] for row in rows]}
script.counted = lambda *_, **__: tables

def status(goals):
    script.GOALS = goals
    sys.argv = ["count_kernels.py", "chaos"]
    return script.main()

held = tuple(goal(*bound) for bound in bounds.items())
found["held"] = status(held)
found["missed"] = status((*held, goal("nmmo_gpu.kernels.tick", 1)))
tables["chaos"].rows[0].unknown.append("loop that ends at 0x120")
found["unknown"] = status(held)

@triton.jit
def walk(start, n, STEPS: tl.constexpr, UNKNOWN: tl.constexpr):
    at = tl.load(start)
    for _ in range(STEPS):
        for _ in range(3):
            at = tl.load(start + at, volatile=True)
    if UNKNOWN:
        for _ in range(n):
            at = tl.load(start + at, volatile=True)
    tl.store(start, at)

place = torch.empty(64, dtype=torch.int64, device="meta")
loops = ((1, False), (50, False), (50, True))
forms = [Launch(walk, 1, (place, 7), {"STEPS": steps, "UNKNOWN": unknown}, 1) for steps, unknown in loops]
for (steps, unknown), form in zip(loops, compiled_forms(forms, "sm_90")):
    found[f"{steps} {unknown}"] = [form.cost.pipelines["memory"], form.cost.alone, form.cost.unknown]
print(json.dumps(found))
"""
"""Counts some kernels of a tick and loops of known and unknown length, in a process with the compiler."""


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Returns what the driver found, and what it printed."""
    file = tmp_path_factory.mktemp("driver") / "driver.py"
    file.write_text(DRIVER)
    path = {"PYTHONPATH": os.pathsep.join([str(SCRIPTS), str(SCRIPTS.parent)])}
    command = [sys.executable, str(file), json.dumps(BOUNDS)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


def test_kernels_take_no_more_instructions_than_before(counted):
    """All kernels of these modules are counted completely, and their sums are within the bounds."""
    found, printed = counted
    assert {"_first_half", "_second_half"} < {name for name, *_ in found["rows"]}
    assert len(found["rows"]) >= 4
    assert all(instructions > 0 and registers > 0 for _, instructions, registers, _ in found["rows"])
    assert [unknown for *_, unknown in found["rows"]] == [[]] * len(found["rows"])
    assert found["held"] == 0, printed


def test_a_missed_goal_or_an_unknown_loop_fails(counted):
    """The exit status is 1, and the output names the goal with its count, or the kernel with its loop."""
    found, printed = counted
    assert (found["missed"], found["unknown"]) == (1, 1)
    (missed,) = [line for line in printed.splitlines() if line.startswith("MISSED")]
    count = sum(row[1] for row in found["rows"] if row[0] in ("_first_half", "_second_half"))
    assert missed == f"MISSED nmmo_gpu.kernels.tick: {count:,.1f} instructions (goal: at most 1)"
    assert f"UNKNOWN {found['rows'][0][0]}: loop that ends at 0x120" in printed


def test_loops_count_as_often_as_they_run(counted):
    """A loop in a loop runs 3 times as often. A load of 8 bytes takes 8 cycles of its pipeline, and waits for
    the one before. A loop of unknown length is reported."""
    once, often, unknown = (counted[0][key] for key in ("1 False", "50 False", "50 True"))
    assert often[0] - once[0] == 49 * 3 * 8
    assert 49 * 3 * 30 < often[1] - once[1] < 49 * 3 * 600
    assert once[2] == often[2] == [] and unknown[2] and all("loop" in reason for reason in unknown[2])


@triton.jit
def _copy_some(source, target, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(target + at, tl.load(source + at, mask=at < 48, other=0), mask=at < 40)
    tl.atomic_add(target + 128 + at * 0, tl.full([BLOCK], 1, tl.int32), mask=at < 3, sem="relaxed")


@pytest.mark.skipif(not INTERPRETED, reason="bytes are counted under the interpreter")
def test_sectors_of_a_launch_are_counted_once(monkeypatch):
    """48 words lie in 6 sectors of 32 bytes, 40 in 5. The atomic additions read and write one more. Memory
    moves pieces of 64 bytes: 3 to read the words, 3 to write them, and 1 each way for the additions, whose
    sector is written in part."""
    monkeypatch.syspath_prepend(SCRIPTS)
    from counting.sectors import Counter

    source = torch.ones(256 + 16, dtype=torch.int32, device=KERNEL_DEVICE)
    source = source[-source.data_ptr() // 4 % 16 :]  # aligned to 64 bytes
    target = torch.zeros(256 + 16, dtype=torch.int32, device=KERNEL_DEVICE)
    target = target[-target.data_ptr() // 4 % 16 :]
    counter = Counter()
    with counter.attached():
        for _ in range(2):
            launch(_copy_some, 1, source, target, BLOCK=64)
    assert target[:40].eq(1).all() and target[40:128].eq(0).all() and target[128] == 6
    assert counter.traffic == {
        "_copy_some": {"launches": 2, "read": 2 * 7 * 32, "written": 2 * 6 * 32, "moved": 2 * 8 * 64}
    }
    launch(_copy_some, 1, source, target, BLOCK=64)
    assert counter.traffic["_copy_some"]["launches"] == 2 and target[128] == 9


def test_torch_operations_are_counted_by_their_bytes(monkeypatch):
    """Views and allocations do not count, repeated elements count once, and products apart."""
    monkeypatch.syspath_prepend(SCRIPTS)
    from counting.operations import Operations

    def made(*shape):
        return torch.empty(shape, dtype=torch.float32, device="meta")

    left, right, bias, row = made(8, 16), made(16, 32), made(8, 32), made(1, 32)
    with Operations() as counted:
        view = left.view(16, 8).t()[:4]
        view.expand(4, 16)
        torch.mm(left, right)
        bias.addmm_(left, right)
        torch.add(bias, row.expand(8, 32))
        bias.zero_()
        bias.copy_(made(8, 32))
        row.view(-1)[torch.zeros(4, dtype=torch.int64, device="meta")]
    products, others = counted.sums(True), counted.sums(False)
    assert products.operations == 2 and products.flops == 2 * 2 * 8 * 16 * 32
    assert products.bytes == 4 * ((8 * 16 + 16 * 32 + 8 * 32) + (8 * 16 + 16 * 32 + 2 * 8 * 32))
    of_add, of_zero, of_copy, of_index = 4 * (256 + 32 + 256), 4 * 256, 4 * 512, 4 * (4 + 4) + 8 * 4
    zeros = 8 * 4
    assert others.bytes == of_add + of_zero + of_copy + of_index + zeros
    assert others.operations == counted.operations - 2 == 5
