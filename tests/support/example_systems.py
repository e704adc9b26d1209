"""The systems of examples/systems, loaded from their files as the command line loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nmmo_gpu.config.class_names import load

FOLDER = Path(__file__).parents[2] / "examples" / "systems"
FILES = {
    "Daylight": "daylight.py", "DeathFog": "death_fog.py", "DenseRegrowth": "dense_regrowth.py",
    "Flag": "flag.py", "TradeTax": "trade_tax.py",
}  # fmt: skip


def _example(name: str) -> Any:
    return load(f"{FOLDER / FILES[name]}:{name}", "system")


Daylight, DeathFog, DenseRegrowth, Flag, TradeTax = map(_example, FILES)
