"""Terrain: reproducible, with the right shares of materials, and refused if it is unplayable."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nmmo_gpu.content import Material
from nmmo_gpu.errors import ConfigError, MapError
from nmmo_gpu.world import terrain
from nmmo_gpu.world.tiled import load_tmx

V1_MAPS = Path(__file__).parents[1] / "data" / "v1_maps"
TABLE = {Material.WATER: 0.077, Material.GRASS: 0.446, Material.FOREST: 0.286, Material.STONE: 0.192}
BORDER = 9


def fractions(maps: torch.Tensor, border: int = BORDER) -> torch.Tensor:
    """Returns ``[count, 4]``, each map's shares of water, grass, forest and stone inside the ring."""
    inner = maps[:, border + 1 : -border - 1, border + 1 : -border - 1]
    return torch.stack([(inner == kind).double().mean((1, 2)) for kind in TABLE], 1)


def reached(maps: torch.Tensor) -> float:
    """Returns the mean share of walkable tiles inside the lava that can be reached from the ring."""
    walkable = (maps == Material.GRASS) | (maps == Material.FOREST)
    now = torch.zeros_like(walkable)
    now.view(len(maps), -1)[:, terrain.ring_tiles(*maps.shape[1:], BORDER)] = True
    while True:
        grown = now.clone()
        grown[:, 1:] |= now[:, :-1]
        grown[:, :-1] |= now[:, 1:]
        grown[:, :, 1:] |= now[:, :, :-1]
        grown[:, :, :-1] |= now[:, :, 1:]
        grown &= walkable
        if torch.equal(grown, now):
            return float((now.sum((1, 2)) / walkable.sum((1, 2))).mean())
        now = grown


@pytest.fixture(scope="module")
def eighty() -> torch.Tensor:
    """Returns 60 maps of v1's size, fewer than the 200 of v1's table, so that the tests are fast."""
    return terrain.generate(11, 60, 80, 80)


# ---------------------------------------------------------------------------------------------- generate


def test_a_map_depends_on_seed_and_index_but_not_on_the_batch() -> None:
    together = terrain.generate(3, 4, 33, 47)
    alone = torch.cat([terrain.generate(3, 1, 33, 47, first=i) for i in range(4)])
    assert torch.equal(together, alone)
    assert torch.equal(terrain.generate(3, 2, 33, 47, first=2), together[2:])
    assert len({bytes(m.flatten().tolist()) for m in together}) == 4
    assert not torch.equal(together, terrain.generate(4, 4, 33, 47))


@pytest.mark.parametrize("seed", [0, -1, 2**63, -(2**63), 2**100])
def test_any_integer_is_a_seed(seed: int) -> None:
    assert terrain.generate(seed, 1, 32, 32).float().std() > 0


def test_the_result_does_not_depend_on_the_chunks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = terrain.generate(5, 1, 47, 90, ore=True)
    monkeypatch.setattr(terrain, "_CHUNK", 100)
    assert torch.equal(terrain.generate(5, 1, 47, 90, ore=True), whole)


def test_a_gpu_draws_all_areas_of_a_map_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise of all areas is one tensor, that of the map another: the number of operations does not grow
    with that of areas."""
    shapes = []

    def simplex(row, column, key, simplex=terrain._simplex):
        shapes.append((*row.shape, column.shape[1]))
        return simplex(row, column, key)

    monkeypatch.setattr(terrain, "_simplex", simplex)
    monkeypatch.setattr(terrain, "_chunk", lambda device: terrain._GPU_CHUNK)
    terrain.generate(1, 2, 250, 250)
    assert shapes == [(2 * 9, 80, 80)] * terrain.OCTAVES + [(2, 230, 230)] * terrain.OCTAVES


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("size", [(200, 33, 47), (50, 80, 80), (3, 90, 131), (1, 700, 481)])
def test_a_gpu_draws_the_same_maps(size: tuple[int, int, int]) -> None:
    for seed in (6, 2**63):
        there = terrain.generate(seed, *size, ore=True, device="cuda")
        assert there.is_cuda and torch.equal(there.cpu(), terrain.generate(seed, *size, ore=True))


@pytest.mark.parametrize(("height", "width", "border"), [(32, 32, 9), (33, 47, 9), (47, 33, 7), (80, 40, 0)])
def test_a_map_has_a_lava_border_then_a_grass_ring_then_terrain(height: int, width: int, border: int) -> None:
    maps = terrain.generate(1, 3, height, width, border)
    assert maps.shape == (3, height, width) and maps.dtype == torch.uint8 and maps.device.type == "cpu"
    core = torch.zeros(height, width, dtype=torch.bool)
    core[border : height - border, border : width - border] = True
    assert (maps[:, ~core] == Material.LAVA).all()
    assert (maps.view(3, -1)[:, terrain.ring_tiles(height, width, border)] == Material.GRASS).all()
    core.view(-1)[terrain.ring_tiles(height, width, border)] = False
    assert set(maps[:, core].unique().tolist()) <= {int(kind) for kind in TABLE}
    for material in maps:
        terrain.validate_map(material, border, min(border, 7), "made")


def test_v1s_shares_of_materials_on_v1s_size(eighty: torch.Tensor) -> None:
    """Means are within 0.02 of the table; 60 maps give the mean to within 0.004, and the extremes only
    roughly."""
    shares = fractions(eighty)
    assert (shares.mean(0) - torch.tensor(list(TABLE.values()))).abs().max() < 0.02
    minimum, maximum = shares.amin(0), shares.amax(0)
    assert (minimum - torch.tensor([0.046, 0.386, 0.252, 0.135])).abs().max() < 0.05
    assert (maximum - torch.tensor([0.106, 0.499, 0.323, 0.274])).abs().max() < 0.06


@pytest.mark.parametrize(
    ("count", "height", "width", "border"),
    [(150, 32, 32, 3), (150, 33, 47, 9), (3, 300, 301, 9), (1, 512, 512, 9)],
)
def test_the_same_shares_on_other_sizes(count: int, height: int, width: int, border: int) -> None:
    """Within 0.03 of the table. At 1024 x 1024 and 8192 x 8192 they were measured once: within 0.003."""
    mean = fractions(terrain.generate(7, count, height, width, border), border).mean(0)
    assert (mean - torch.tensor(list(TABLE.values()))).abs().max() < 0.03


def test_nearly_all_of_a_map_can_be_reached_from_its_ring(eighty: torch.Tensor) -> None:
    """v1: 99.6 %."""
    assert reached(eighty) > 0.985


def test_features_are_as_large_as_on_v1s_maps(eighty: torch.Tensor) -> None:
    """How often a tile equals the one d tiles away, per material for d = 1 and overall for other d."""
    real = torch.stack([load_tmx(path) for path in sorted(V1_MAPS.glob("*.tmx"))])
    assert len(real) == 4
    one, other = (m[:, 10:70, 10:70] for m in (real, eighty))
    for kind in TABLE:
        pair = []
        for m in (one, other):
            right, left = m[..., 1:] == kind, m[..., :-1] == kind
            pair.append((right & left).sum() / right.sum())
        assert abs(pair[0] - pair[1]) < 0.06, kind
    for d in (1, 2, 4, 8):
        pair = [(m[:, d:] == m[:, :-d]).double().mean() for m in (one, other)]
        assert abs(pair[0] - pair[1]) < 0.03, d


def test_large_maps_do_not_repeat() -> None:
    """No shift by a multiple of 256, the period of the usual permutation table, matches."""
    inner = terrain.generate(2, 1, 600, 600)[0, 20:-20, 20:-20]
    for shift in (256, 512):
        assert (inner[shift:] == inner[:-shift]).double().mean() < 0.45
        assert (inner[:, shift:] == inner[:, :-shift]).double().mean() < 0.45


def test_ore_replaces_stone_beside_walkable_tiles() -> None:
    plain, mined = terrain.generate(9, 40, 60, 50), terrain.generate(9, 40, 60, 50, ore=True)
    changed = plain != mined
    assert (plain[changed] == Material.STONE).all() and (mined[changed] == Material.ORE_ROCK).all()
    walkable = (plain == Material.GRASS) | (plain == Material.FOREST)
    beside = torch.zeros_like(walkable)
    beside[:, 1:] |= walkable[:, :-1]
    beside[:, :-1] |= walkable[:, 1:]
    beside[:, :, 1:] |= walkable[:, :, :-1]
    beside[:, :, :-1] |= walkable[:, :, 1:]
    can = beside & (plain == Material.STONE)
    assert not (changed & ~can).any()
    total = int(can.sum())
    assert abs(int(changed.sum()) / total - 0.15) < 4 * (0.15 * 0.85 / total) ** 0.5
    assert torch.equal(terrain.generate(9, 1, 60, 50, first=5, ore=True)[0], mined[5])
    everything = terrain.generate(9, 40, 60, 50, ore=True, ore_chance=1.0)
    assert torch.equal(everything == Material.ORE_ROCK, can)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"height": 31}, "height is 31"),
        ({"width": 8193}, "width is 8193"),
        ({"border": 15}, "border is 15"),
        ({"border": -1}, "border is -1"),
        ({"count": -1}, "count is -1"),
        ({"first": -2}, "first is -2"),
        ({"ore_chance": 1.5}, "ore_chance is 1.5"),
    ],
)
def test_impossible_settings_are_refused(arguments: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        terrain.generate(**({"seed": 0, "count": 1, "height": 32, "width": 32} | arguments))


def test_zero_maps_are_allowed() -> None:
    assert terrain.generate(0, 0, 32, 40).shape == (0, 32, 40)


# ------------------------------------------------------------------------------------- ring, shore, pad


@pytest.mark.parametrize(("height", "width", "border"), [(32, 32, 9), (33, 47, 9), (7, 5, 1), (3, 3, 0)])
def test_the_ring_has_each_tile_once_clockwise(height: int, width: int, border: int) -> None:
    ring = terrain.ring_tiles(height, width, border)
    assert ring.dtype == torch.int64
    row, column = ring // width, ring % width
    assert len(ring.unique()) == len(ring) == 2 * (height - 2 * border) + 2 * (width - 2 * border) - 4
    depth = torch.stack((row, column, height - 1 - row, width - 1 - column)).amin(0)
    assert (depth == border).all()
    steps = list(zip(row.diff().tolist(), column.diff().tolist(), strict=True))
    assert steps[0] == (0, 1) and (int(row[0]), int(column[0])) == (border, border)
    order = [step for k, step in enumerate(steps) if k == 0 or steps[k - 1] != step]
    assert order == [(0, 1), (1, 0), (0, -1), (-1, 0)][: len(order)]
    assert (int(row[-1]), int(column[-1])) == (border + 1, border)  # one more step closes it


def test_the_ring_of_a_small_map_by_hand() -> None:
    assert terrain.ring_tiles(4, 3, 0).tolist() == [0, 1, 2, 5, 8, 11, 10, 9, 6, 3]
    with pytest.raises(ConfigError, match="border is 1"):
        terrain.ring_tiles(4, 3, 1)


def test_shore_is_beside_water_without_wrapping_around() -> None:
    base = torch.full((2, 5, 7), int(Material.GRASS), dtype=torch.uint8)
    base[0, 0, 6] = base[1, 4, 3] = int(Material.WATER)
    expected = torch.zeros(2, 5, 7, dtype=torch.bool)
    expected[0, 0, 5] = expected[0, 1, 6] = True
    expected[1, 3, 3] = expected[1, 4, 2] = expected[1, 4, 4] = True
    assert torch.equal(terrain.shore(base), expected)
    assert torch.equal(terrain.shore(base[1]), expected[1])
    lake = torch.full((3, 3), int(Material.WATER), dtype=torch.uint8)
    assert terrain.shore(lake).all()  # water beside water counts too


def test_pad_makes_a_bare_terrain_playable() -> None:
    bare = torch.full((14, 21), int(Material.STONE), dtype=torch.uint8)
    padded = terrain.pad(bare, 9)
    assert padded.shape == (14 + 20, 21 + 20) and torch.equal(padded[10:-10, 10:-10], bare)
    terrain.validate_map(padded, 9, 7, "padded")
    assert terrain.pad(bare, 9, with_ring=False).shape == (14 + 18, 21 + 18)


# ---------------------------------------------------------------------------------------------- validate


def good() -> torch.Tensor:
    return terrain.generate(1, 1, 33, 47)[0]


def test_maps_of_v1_and_generated_maps_are_valid() -> None:
    for path in V1_MAPS.glob("*.tmx"):
        terrain.validate_map(load_tmx(path), 9, 7, str(path))
    terrain.validate_map(good(), 9, 9, "good")


def test_impassable_tiles_at_the_edge_are_allowed() -> None:
    material = good()
    for kind in (Material.WATER, Material.STONE, Material.ORE_ROCK):
        material[0, 3] = int(kind)
        terrain.validate_map(material, 9, 7, "edge")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: m.long(), "uint8"),
        (lambda m: m[None], "2-D"),
        (lambda m: m[:31], "31 x 47"),
        (lambda m: m[:1].expand(8193, 47), "8193 x 47"),
        (lambda m: put(m, 20, 30, 7), "row 20, column 30 holds 7"),
        (lambda m: put(m, 6, 40, Material.FOREST), "row 6, column 40 is forest, 6 tiles"),
        (lambda m: put(m, 30, 2, Material.SCRUB), "row 30, column 2 is scrub, 2 tiles"),
        (lambda m: put(m, 23, 20, Material.STONE), "row 23, column 20 is stone.*ring 9"),
        (lambda m: put(m, 9, 9, Material.FOREST), "row 9, column 9 is forest.*1 tiles"),
    ],
)
def test_a_fault_of_a_map_is_named_with_its_place(spoil, message: str) -> None:
    with pytest.raises(MapError, match=rf"^the source: .*{message}"):
        terrain.validate_map(spoil(good()), 9, 7, "the source")


def test_a_border_too_wide_for_a_ring_is_refused() -> None:
    with pytest.raises(MapError, match="^the source: border is 16"):
        terrain.validate_map(torch.zeros(33, 47, dtype=torch.uint8), 16, 7, "the source")


def put(material: torch.Tensor, row: int, column: int, value: int) -> torch.Tensor:
    material[row, column] = int(value)
    return material
