#!/usr/bin/env python
"""Compares random agents on v1's maps with measurements of v1, and generated terrain with v1's 200 maps.

python scripts/compare_v1.py tests/data/v1_maps/map{0,1,2}.tmx
"""

import argparse
import sys
from typing import NamedTuple

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.content import Material
from nmmo_gpu.errors import NmmoError
from nmmo_gpu.train.evaluate import Evaluation, evaluate, slots_kept_full
from nmmo_gpu.world.terrain import generate


class Measured(NamedTuple):
    """A measurement of v1: mean lifetimes on maps 0, 1 and 2; median (None: not recorded); causes of death,
    %."""

    means: tuple[float, float, float]
    median: int | None
    lava: float
    starved: float
    combat: float


V1 = {
    ("law", False): Measured((11.64, 11.26, 11.33), 4, 90, 10, 0),
    ("chaos", False): Measured((11.64, 11.11, 11.36), 5, 87, 9, 4),
    ("law", True): Measured((10.97, 10.98, 10.77), None, 89, 11, 0),
    ("chaos", True): Measured((10.36, 10.41, 10.26), None, 74, 5, 21),
}
"""By (preset, slots kept full): 20,000 deaths per map, uniformly random moves, styles and targets."""

V1_TERRAIN = {Material.WATER: 0.077, Material.GRASS: 0.446, Material.FOREST: 0.286, Material.STONE: 0.192}
"""Mean share of the tiles inside the ring over v1's 200 maps."""


def play(preset_name: str, path: str, full: bool, deaths: int) -> Evaluation:
    """Plays random agents on one map in 64 realms, until about ``deaths`` of them have died."""
    config = EnvConfig(world=preset(preset_name), realms=64, maps=(path,), check_actions=False)
    if full:
        config = slots_kept_full(config)
    per_tick = 1.0 if not full else 11.0
    ticks = int(deaths / (config.realms * per_tick)) + 200
    return evaluate(config, None, max_ticks=ticks + 200, shortest=ticks)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("maps", nargs="+", help="v1's map files, in the order map0 map1 map2")
    parser.add_argument("--deaths", type=int, default=20_000, help="approximate number of deaths per map")
    options = parser.parse_args()
    print(f"{'':<34}{'mean':>8}{'median':>8}{'lava':>8}{'starved':>9}{'combat':>8}{'deaths':>9}{'alive':>7}")
    try:
        for (config, full), v1 in V1.items():
            name = f"{config}, slots kept full" if full else config
            for path, mean in zip(options.maps, v1.means, strict=False):
                s = play(config, path, full, options.deaths).summary
                died = round(s["agent_steps"] / s["lifetime/mean"])
                starved = s["deaths/hunger"] + s["deaths/thirst"]
                print(
                    f"{name + ', ' + path.rpartition('/')[2]:<34}{s['lifetime/mean']:8.2f}"
                    f"{s['lifetime/median']:8.0f}{100 * s['deaths/lava']:7.1f}%{100 * starved:8.1f}%"
                    f"{100 * s['deaths/combat']:7.1f}%{died:9}{s['population/alive per realm']:7.1f}"
                )
                median = "-" if v1.median is None else v1.median
                print(f"{'    v1':<34}{mean:8.2f}{median:>8}{v1.lava:7}%{v1.starved:8}%{v1.combat:7}%")
    except NmmoError as error:
        print(error, file=sys.stderr)
        return 2
    inside = generate(0, 200, 80, 80)[:, 10:-10, 10:-10]
    print("\nterrain, mean share over 200 maps    new     v1")
    for material, share in V1_TERRAIN.items():
        print(f"{material.name.lower():<34}{(inside == material).float().mean():7.3f}{share:7.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
