"""Operations and bytes of a training iteration on a GPU, counted without one, and the goals for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)


def test_a_training_iteration_keeps_its_goals():
    """``chaos --scale gpu``: at most 3,000 operations that launch work per update; and at most 30 kB per slot
    and tick besides operands and results of matrix products, without the other kernels, whose bytes
    ``scripts/count_kernels.py`` counts under the interpreter."""
    from counting import dense
    from counting.work import REALMS, iteration

    works = iteration(REALMS["train"])
    update = works["update"]
    names = {launch.kernel.__name__ for launch in update.launches}
    assert names >= {"_layer", "_layer_backward", "_gather_sum", "_loss"}
    assert {"bmm", "_fused_adam_"} <= update.operations.totals.keys()
    assert 1000 < update.operations.operations + len(update.launches) <= 3000
    outside = 0.0
    for work in works.values():
        outside += work.operations.sums(products=False).bytes / work.samples
        for row in dense.traffic(work.launches, work.samples).values():
            outside += row["read"] + row["written"] - row["operands"]
    assert 10e3 < outside <= 30e3


def test_bytes_of_torch_operations():
    """Each tensor counts once, expanded dimensions once, and views nothing."""
    from counting.operations import Operations

    a, b = torch.zeros(3, 4), torch.zeros(4, 1)
    with Operations() as found:
        c = a @ b
        a.view(12)[3:].add_(1.0)
        c + torch.ones(()).expand(3, 1)
        a.index_select(0, torch.tensor([2, 2]))
        torch.baddbmm(torch.ones(1, 1, 1), a[None], b[None])
    totals = found.totals
    assert (totals["mm"].operations, totals["mm"].bytes) == (1, 4 * (12 + 4 + 3))
    # The operand that is added is copied to the result, which the product reads.
    assert totals["baddbmm"].bytes == 4 * (1 + 12 + 4 + 3 * 3) and totals["baddbmm"].flops == 2 * 3 * 4
    assert totals["add_"].bytes == 4 * (9 + 9) and totals["add"].bytes == 4 * (3 + 1 + 3)
    assert totals["index_select"].bytes == 4 * (8 + 8) + 8 * 2
    assert not {"view", "slice", "expand", "t"} & totals.keys()


def test_bytes_of_dense_kernels():
    """Placeholders, which are passed for several parameters, count once, and unused ones not at all."""
    from counting import dense

    from nmmo_gpu.kernels.launch import diverted
    from nmmo_gpu.kernels.train.fused_layers import fused_layers

    populations, rows, hidden = 3, 40, 64
    unit, matrix, bias = populations * rows * hidden, populations * hidden * hidden, populations * hidden
    total = torch.zeros(populations, rows, hidden, dtype=torch.bfloat16, requires_grad=True)
    matrices = [torch.zeros(populations, hidden, hidden, dtype=torch.bfloat16) for _ in range(2)]
    biases = [torch.zeros(populations, 1, hidden, dtype=torch.bfloat16) for _ in range(2)]
    launches = []
    with diverted(launches.append):
        out = fused_layers(total, matrices, biases)
        out.sum().backward()
    first, second, *others = launches
    # The first stores the ReLU of its input; the second, one byte per unit that says whether it was active.
    operands = 2 * (2 * unit + matrix)
    assert dense.bytes_of(first) == dense.Bytes(2 * (unit + matrix + bias), 2 * 2 * unit, operands)
    assert dense.bytes_of(second) == dense.Bytes(2 * (unit + matrix + bias), 2 * unit + unit, operands)
    names = [launch.kernel.__name__ for launch in others]
    assert names == ["_bias_relu_backward", "_layer_backward", "_layer_backward"]
    last = dense.bytes_of(others[2])
    assert last == dense.Bytes(2 * (2 * unit + matrix), 2 * unit, operands)  # no residual, no sums
