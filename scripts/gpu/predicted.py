"""The times that ``scripts/count_kernels.py`` predicts for an H100, from docs/benchmarks/counts.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

COUNTS = Path(__file__).parents[2] / "docs" / "benchmarks" / "counts.json"
CHIP = "H100"

GROUPS = (
    ("inputs", r"^_encode"),
    ("element-wise", r"^_bias_relu|^_gather_sum|^_loss"),
    ("matrix products", r"^_layer"),
    ("environment, choice, tally", r"^_[a-z]"),
    ("matrix products", r"gemm|gemv|cutlass|cublas|nvjet|xmma|sgemm|splitK"),
    ("element-wise", r"elementwise|vectorized|addcmul|multi_tensor|FillFunctor|CatArray"),
    ("others", r""),
)
"""Names and patterns of groups of kernels; the first match counts. Predictions for torch's operations besides
matrix products are in "element-wise"."""


class Predicted(NamedTuple):
    """Predicted ns per slot, or per slot and tick."""

    kernels: dict[str, dict[str, float]]
    """``table -> kernel -> ns``; the tables are "environment", "rollout" and "update"."""
    whole: dict[str, float]
    """By table, torch's operations included; not those that choose random actions."""
    groups: dict[str, float]
    """``group -> ns`` of rollout and update together."""


def predicted() -> Predicted:
    """Returns the predictions for ``chaos``."""
    tables = json.loads(COUNTS.read_text())["tables"]
    tables = {"environment" if name == "chaos" else name: table for name, table in tables.items()}
    kernels = {
        name: {row["kernel"]: row["predicted"][CHIP]["ns"] for row in table["kernels"]}
        for name, table in tables.items()
    }
    groups: dict[str, float] = {}
    for name in ("rollout", "update"):
        times = list(kernels[name].items())
        for group in tables[name]["torch"]:
            kind = "gemm" if group["group"] == "matrix products" else "elementwise"
            times.append((kind, group["predicted"][CHIP]))
        for kernel, ns in times:
            group_name = group_of(kernel)
            groups[group_name] = groups.get(group_name, 0.0) + ns
    return Predicted(kernels, {name: table["predicted"][CHIP] for name, table in tables.items()}, groups)


def group_of(kernel: str) -> str:
    """Returns the group of a kernel."""
    return next(name for name, mark in GROUPS if re.search(mark, kernel))
