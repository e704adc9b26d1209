"""Random agents live as long as v1's and die of the same causes (see the table in scripts/compare_v1.py)."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("compare_v1", ROOT / "scripts" / "compare_v1.py")
compare_v1 = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(compare_v1)

DEATHS = 8000
"""Means are accurate to within 0.1 ticks then, and shares to within 0.6 points."""
MAP = str(ROOT / "tests" / "data" / "v1_maps" / "map1.tmx")


@pytest.mark.parametrize(("preset_name", "full"), list(compare_v1.V1))
def test_lifetimes_and_causes_match_v1(preset_name, full):
    """On map1: the mean within 0.6 ticks, the median equal where v1's is known, shares within 3 points."""
    v1 = compare_v1.V1[preset_name, full]
    found = compare_v1.play(preset_name, MAP, full, deaths=DEATHS).summary
    assert found["agent_steps"] / found["lifetime/mean"] > DEATHS
    assert abs(found["lifetime/mean"] - v1.means[1]) < 0.6
    if v1.median is not None:
        assert found["lifetime/median"] == v1.median
    assert abs(100 * found["deaths/lava"] - v1.lava) < 3
    assert abs(100 * (found["deaths/hunger"] + found["deaths/thirst"]) - v1.starved) < 3
    assert abs(100 * found["deaths/combat"] - v1.combat) < 3
