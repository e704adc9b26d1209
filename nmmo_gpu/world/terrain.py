"""Terrain: random maps from ridged simplex noise, and the requirements on maps.

The noise is Perlin's simplex noise (K. Perlin, *Noise Hardware*, 2001) as explained by S. Gustavson
(*Simplex noise demystified*, 2005), with two choices that match it to v1's maps (measured on four of them
and on the table of fractions over v1's 200 maps):

- **The kernel reaches exactly to the neighboring lattice points** (r^2 = 2/3, the squared edge, where
  Gustavson has 1/2), so four corners count instead of three. Its noise stays within +-0.88.
- **Feature size.** v1's "base scale of size/5" is one noise unit per 5 tiles, on a lattice whose edge is
  sqrt(2) units: lattice points 7.07 tiles apart, on a map of any size.

Gradients are selected by an integer hash of (seed, map, octave, lattice point), so the noise never repeats.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from nmmo_gpu.config import MAX_SIDE, MIN_SIDE
from nmmo_gpu.config.bounds import checked
from nmmo_gpu.content import MATERIALS, Material, walkable_table
from nmmo_gpu.errors import ConfigError, MapError

OCTAVES = 8
WATER_BELOW, GRASS_BELOW, FOREST_BELOW = 0.3, 0.57, 0.715
KINDS = (Material.WATER, Material.GRASS, Material.FOREST, Material.STONE)
ORE_CHANCE = 0.15

SKEW = (math.sqrt(3.0) - 1.0) / 2.0
UNSKEW = (3.0 - math.sqrt(3.0)) / 6.0
EDGE = math.sqrt(2.0 / 3.0)  # distance of neighboring lattice points, in noise coordinates
_TILES_PER_UNIT = 5.0 * math.sqrt(2.0) / EDGE
AMPLITUDE = 16.07  # puts the noise's peaks at 0.88, as calibrated to v1's share of water

BLOCK = 80  # side of the area whose maximum v1 divides by
_BLOCKS_A_SIDE = 8  # with 64 blocks their mean is accurate to within 0.3 %

_PLACES = 1 << 16  # number of rows and columns of the noise where a map's corner can be

# Tiles at once: per thread on a CPU, so that they fit into its cache, and on a GPU.
_CHUNK, _GPU_CHUNK = 1 << 15, 1 << 22
_WORD = (1 << 64) - 1
# Odd 63-bit constants, so that they fit int64: lattice steps, and the mixer's multipliers (torch wraps).
STEP_I, STEP_J = 0x1E3779B97F4A7C15, 0x42B2AE3D27D4EB4F
MIX_1, MIX_2 = 0x3F58476D1CE4E5B9, 0x14D049BB133111EB
_ANGLE = torch.arange(32, dtype=torch.float64, device="cpu") * (2.0 * math.pi / 32)
GRADIENT_X, GRADIENT_Y = _ANGLE.cos().float(), _ANGLE.sin().float()


def fill(maps: torch.Tensor, seed: int, first: int, border: int) -> None:
    """Draw the terrain of maps ``first``, ``first + 1``, ... into ``maps``: ``[n, H, W] uint8`` with lava and
    grass."""
    batch = max(1, _chunk(maps.device) // max(maps[:1].numel(), BLOCK**2))
    for start in range(0, len(maps), batch):
        _fill(maps[start : start + batch], seed, first + start, border)


def generate(
    seed: int,
    count: int,
    height: int,
    width: int,
    border: int = 9,
    first: int = 0,
    ore: bool = False,
    ore_chance: float = ORE_CHANCE,
    device: torch.device | str = "cpu",
    fill: Callable[[torch.Tensor, int, int, int], None] = fill,
) -> torch.Tensor:
    """Make ``count`` random maps: ``[count, height, width] uint8`` materials, on ``device``.

    ``border`` tiles of lava, a ring of grass one tile wide, and terrain inside it. Map ``i`` is a pure
    function of (``seed``, ``first + i``, size, border, ore): it depends neither on the number of maps in the
    call nor on the device. With ``ore`` a stone tile with a walkable 4-neighbor is an ore rock with
    probability ``ore_chance``. ``fill`` is ``Backend.terrain`` of any backend.

    Memory beyond the result is a few MB per thread on a CPU, and some 500 MB on a GPU (with ``ore``, about
    the size of one map more).

    Raises ConfigError: a size outside 32..8192, a border that leaves no terrain, a negative count or index.
    """
    seed, count, height, width, border, first = (
        checked(name, value, int)
        for name, value in (
            ("seed", seed), ("count", count), ("height", height), ("width", width), ("border", border),
            ("first", first),
        )
    )  # fmt: skip
    for name, value in (("height", height), ("width", width)):
        if not MIN_SIDE <= value <= MAX_SIDE:
            raise ConfigError(f"{name} is {value}; a map's {name} must be {MIN_SIDE} to {MAX_SIDE} tiles")
    _check_border(height, width, border)
    for name, value in (("count", count), ("first", first)):
        if value < 0:
            raise ConfigError(f"{name} is {value}; it must be 0 or more")
    if not 0.0 <= ore_chance <= 1.0:
        raise ConfigError(f"ore_chance is {ore_chance}; a chance must be between 0 and 1")

    maps = torch.full((count, height, width), int(Material.LAVA), dtype=torch.uint8, device=device)
    maps[:, border : height - border, border : width - border] = int(Material.GRASS)
    if count:
        fill(maps, seed, first, border)
    if ore:
        batch = max(1, _chunk(maps.device) // (height * width))
        for start in range(0, count, batch):
            _place_ore(maps[start : start + batch], seed, first + start, ore_chance)
    return maps


def ring_tiles(height: int, width: int, border: int) -> torch.Tensor:
    """``[n] int64``: flat indices (row * width + column) of the grass ring, each tile once.

    Clockwise from its top-left corner. Raises ConfigError when the border leaves no room for the ring.
    """
    _check_border(height, width, border)
    top, left, bottom, right = border, border, height - 1 - border, width - 1 - border
    rows, columns = (
        torch.arange(top, bottom + 1, dtype=torch.int64, device="cpu"),
        torch.arange(left, right + 1, dtype=torch.int64, device="cpu"),
    )
    return torch.cat(
        (
            top * width + columns,
            rows[1:] * width + right,
            bottom * width + columns[:-1].flip(0),
            rows[1:-1].flip(0) * width + left,
        )
    )


def safe_table(device: torch.device | str = "cpu") -> torch.Tensor:
    """``[materials] bool``: whether each material is walkable and safe."""
    safe = walkable_table(device)
    safe[int(Material.LAVA)] = False
    return safe


def shore(base: torch.Tensor) -> torch.Tensor:
    """Whether one of the 4 neighbors is water: ``[..., H, W]`` materials to ``[..., H, W] bool``.

    Outside the map there is no water.
    """
    if base.is_meta:  # the first comparison of such tensors makes torch import its compiler, for a second
        return torch.empty_like(base, dtype=torch.bool)
    return _beside(base == int(Material.WATER))


def pad(material: torch.Tensor, border: int, with_ring: bool = True) -> torch.Tensor:
    """Add a lava border of ``border`` tiles around ``[H, W] uint8``, and optionally a grass ring inside
    it."""
    grown = material
    if with_ring:
        grown = torch.nn.functional.pad(grown, (1, 1, 1, 1), value=int(Material.GRASS))
    return torch.nn.functional.pad(grown, (border,) * 4, value=int(Material.LAVA))


def validate_map(material: torch.Tensor, border: int, vision: int, source: str) -> None:
    """Raise MapError unless ``material`` (``[H, W] uint8``) is a valid map.

    ``border`` is the distance of the grass ring from the edge (tiles), ``vision`` the visual range of an
    agent (tiles), ``source`` the name of the map in messages, for example its file.
    """
    if material.dim() != 2 or material.dtype != torch.uint8:
        raise MapError(
            f"{source}: a map is a 2-D uint8 tensor [height, width], not {list(material.shape)} "
            f"{str(material.dtype).removeprefix('torch.')}; convert it with .to(torch.uint8)"
        )
    height, width = material.shape
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise MapError(
            f"{source}: the map is {height} x {width} (height x width); both must be "
            f"{MIN_SIDE} to {MAX_SIDE}: crop it, or surround it with terrain.pad()"
        )
    where = _first(material >= len(Material))
    if where is not None:
        raise MapError(
            f"{source}: row {where[0]}, column {where[1]} holds {int(material[where])}, which is not a "
            f"material; use 0 to {len(Material) - 1} ({', '.join(kind.name for kind in MATERIALS.values())})"
        )

    # Agents on lava die before they observe.
    outside = safe_table(material.device).index_select(0, material.reshape(-1).int()).view_as(material)
    outside[vision : max(vision, height - vision), vision : max(vision, width - vision)] = False
    where = _first(outside)
    if where is not None:
        row, column = where
        near = min(row, column, height - 1 - row, width - 1 - column)
        raise MapError(
            f"{source}: row {row}, column {column} is {_name(material[where])}, {near} tiles from the edge, "
            f"and an agent there would see {vision} tiles far, beyond the map; put lava, water or stone "
            f"there, or surround the map with terrain.pad(map, {vision})"
        )

    try:
        ring = ring_tiles(height, width, border).to(material.device)
    except ConfigError as error:
        raise MapError(f"{source}: {error}") from None
    wrong = (material.reshape(-1)[ring] != int(Material.GRASS)).nonzero()
    if len(wrong):
        row, column = divmod(int(ring[wrong[0, 0]]), width)
        raise MapError(
            f"{source}: row {row}, column {column} is {_name(material[row, column])}, but agents are born "
            f"on the ring {border} tiles from the edge, which must be grass all round ({len(wrong)} tiles "
            f"are not); make it grass, set the border to where the map has its ring, or add a ring with "
            f"terrain.pad(map, {border})"
        )


# ------------------------------------------------------------------------------------------------- terrain


def _fill(out: torch.Tensor, seed: int, first: int, border: int) -> None:
    """``fill`` for a batch."""
    (count, height, width), device = out.shape, out.device
    field = Field(seed, first, count)
    keys = field.keys.to(device)
    kinds = torch.tensor(KINDS, dtype=torch.uint8, device="cpu").to(device)
    inner = out[:, border + 1 : height - border - 1, border + 1 : width - border - 1]

    def draw(value: torch.Tensor, divisor: torch.Tensor, start: int, stop: int) -> None:
        limits = thresholds(divisor).to(device)
        kind = torch.searchsorted(limits, value.flatten(1), right=True, out_int32=True)
        inner[:, start:stop] = kinds[kind].view_as(inner[:, start:stop])

    if height <= BLOCK and width <= BLOCK:
        # The map is inside the area whose maximum it is divided by.
        row, column = (side[:, 0].to(device) for side in field.blocks(height, width))
        value = _ridged(row, column, keys)
        crop = value[:, border + 1 : height - border - 1, border + 1 : width - border - 1]
        draw(crop, mean(value.amax((1, 2))[:, None]), 0, len(inner[0]))
        return

    def maxima(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        """Of ``[n, areas, BLOCK] float64`` twice: ``[n, areas] float32``."""
        areas = row.shape[1]
        row, column = (side.flatten(0, 1).to(device) for side in (row, column))
        return _ridged(row, column, keys.repeat_interleave(areas, 0)).amax((1, 2)).view(count, areas)

    # Many areas in one call: on a GPU, an operation takes no longer for all of them than for one.
    areas = max(1, _chunk(device) // (count * BLOCK**2))
    split = (torch.split(side, areas, 1) for side in field.blocks(height, width))
    divisor = mean(torch.cat([maxima(*part) for part in zip(*split, strict=True)], 1))
    row, column = (side.to(device) for side in field.inside(height, width, border))
    step = max(1, _chunk(device) // column.numel())
    for start in range(0, row.shape[1], step):
        draw(_ridged(row[:, start : start + step], column, keys), divisor, start, start + step)


class Field:
    """The places of n maps in the noise. All tensors are on the CPU: a GPU would multiply by the reciprocal
    instead of dividing, which rounds differently."""

    def __init__(self, seed: int, first: int, count: int) -> None:
        keys = [[_key(seed, first + i, octave) for octave in range(OCTAVES + 1)] for i in range(count)]
        self.keys = torch.tensor([own[:OCTAVES] for own in keys], dtype=torch.int64, device="cpu")
        """[n, OCTAVES] int64."""
        # The position of a map in the noise: whole tiles from the lattice's origin. The lattice repeats after
        # (5, -5) tiles, so a fraction of a tile would be the same all over a map, and would determine how
        # closely its tiles match the lattice points, where every octave has its peaks. Whole tiles give
        # the maxima that v1's fractions require; random fractions give about 2 % less, and too much
        # stone.
        shifts = [own[OCTAVES] & _WORD for own in keys]
        self.shift = torch.tensor(
            [(1024 + (s >> 32) % _PLACES, 1024 + (s & 0xFFFFFFFF) % _PLACES) for s in shifts],
            dtype=torch.int64,
            device="cpu",
        )

    def inside(self, height: int, width: int, border: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates of the rows and columns inside the ring: ``[n, h]`` and ``[n, w] float64``."""
        rows, columns = (
            torch.arange(border + 1, side - border - 1, dtype=torch.int64, device="cpu")
            for side in (height, width)
        )
        return self._coordinates(rows, 0), self._coordinates(columns, 1)

    def blocks(self, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates of the rows and columns of the areas whose maximum determines the divisor of a map:
        ``[n, areas, BLOCK] float64`` each.

        v1 divides the sum of the octaves by the map's own maximum. Over a larger area the maximum is larger,
        which would turn stone into forest and grass into water, and the reverse on a smaller map. Therefore
        the maximum is always that of 80x80 tiles: of the map itself at 80x80, of the 80x80 tiles of noise
        whose corner is the map if it is smaller, and the mean over up to 8x8 such areas, evenly spread, if
        it is larger. So the thresholds mean the same on a map of any size.
        """
        corners = torch.cartesian_prod(
            *(torch.tensor(_starts(side), dtype=torch.int64, device="cpu") for side in (height, width))
        )
        areas = corners[:, :, None] + torch.arange(BLOCK, dtype=torch.int64, device="cpu")
        return self._coordinates(areas[:, 0], 0), self._coordinates(areas[:, 1], 1)

    def _coordinates(self, tiles: torch.Tensor, axis: int) -> torch.Tensor:
        """From tiles to units of noise: ``[...] int64`` to ``[n, ...] float64``."""
        shift = self.shift[:, axis].view(-1, *[1] * tiles.dim())
        return (tiles + shift).double() / _TILES_PER_UNIT


def mean(maxima: torch.Tensor) -> torch.Tensor:
    """The mean of ``[n, areas] float32``, on the CPU, where sums always round the same way: ``[n]
    float32``."""
    return maxima.cpu().double().mean(-1).float()


def thresholds(divisor: torch.Tensor) -> torch.Tensor:
    """Values at which ``KINDS`` follow each other: ``[n] float32`` to ``[n, 3]``, on the CPU."""
    return divisor[:, None] * torch.tensor(
        [WATER_BELOW, GRASS_BELOW, FOREST_BELOW], dtype=torch.float32, device="cpu"
    )


def _ridged(row: torch.Tensor, column: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Sum of the ridged octaves, not divided: ``[n, h], [n, w] float64`` coordinates and ``[n, OCTAVES]
    int64`` keys to ``[n, h, w] float32``."""
    total = torch.zeros(1, dtype=torch.float32, device="cpu")
    for octave in range(OCTAVES):
        value = _simplex(row * 2.0**octave, column * 2.0**octave, keys[:, octave, None, None])
        # 2 (0.5 - |0.5 - (n + 1) / 2|) is 1 - |n|
        value = value.abs_().neg_().add_(1.0).mul_(0.5**octave)
        total = value if octave == 0 else value.mul_(total).add_(total)
    return total


def _starts(size: int) -> list[int]:
    """First rows (or columns) of the blocks whose maxima are averaged, evenly spread over ``size`` tiles."""
    blocks = min(max(1, size // BLOCK), _BLOCKS_A_SIDE)
    return [k * max(0, size - BLOCK) // max(1, blocks - 1) for k in range(blocks)]


def _simplex(row: torch.Tensor, column: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """2-D simplex noise on n grids: ``[n, h], [n, w] float64`` coordinates to ``[n, h, w] float32`` within
    +-0.88; ``key`` is ``[n, 1, 1] int64``.

    Positions are float64, because at the last octave a large map is a million lattice cells wide; positions
    within a cell are float32.
    """
    row, column = row[:, :, None], column[:, None, :]
    skew = (row + column) * SKEW
    v, u = row + skew, column + skew
    i, j = v.floor(), u.floor()
    cell = i.long().mul_(STEP_I).add_(j.long().mul_(STEP_J))
    v, u = (v - i).float(), (u - j).float()
    unskew = (u + v) * UNSKEW
    y, x = v - unskew, u - unskew

    # The triangle: (0, 0), (1, 1), and (i, j) = (0, 1) where u > v, else (1, 0). The fourth corner mirrors
    # the triangle's farthest corner (the one of minimum barycentric weight) in the opposite side, so it is
    # the sum of all three minus twice that corner; the kernel reaches no other.
    right = u > v
    mid_j = right.float()
    mid_i = 1.0 - mid_j
    near, far = torch.minimum(u, v), 1.0 - torch.maximum(u, v)  # weights of (1, 1) and of (0, 0)
    middle = (u - v).abs()  # weight of the third
    drop_both = ((near < far) & (near < middle)).float()
    drop_mid = ((middle <= near) & (middle <= far)).float()
    last_i = 1.0 + mid_i - 2.0 * (drop_both + drop_mid * mid_i)
    last_j = 1.0 + mid_j - 2.0 * (drop_both + drop_mid * mid_j)

    total = _corner(x, y, cell ^ key)
    both = 1.0 - 2.0 * UNSKEW
    total += _corner(x - both, y - both, (cell + (STEP_I + STEP_J)) ^ key)
    mid_cell = torch.where(right, cell + STEP_J, cell + STEP_I)
    total += _corner(x - mid_j + UNSKEW, y - mid_i + UNSKEW, mid_cell.bitwise_xor_(key))
    last = (last_i + last_j) * UNSKEW
    last_cell = last_i.long().mul_(STEP_I).add_(last_j.long().mul_(STEP_J)).add_(cell)
    total += _corner(x - last_j + last, y - last_i + last, last_cell.bitwise_xor_(key))
    return total.mul_(AMPLITUDE)


def _corner(x: torch.Tensor, y: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    """The contribution of one lattice point: gradient . (x, y) * (r^2 - d^2)^4; overwrites ``code``
    (int64)."""
    direction = _mix(code).bitwise_right_shift_(59).bitwise_and_(31).view(-1)
    weight = (EDGE**2 - x * x - y * y).clamp_(min=0.0)
    weight *= weight
    weight *= weight
    slope = GRADIENT_X.to(x.device).index_select(0, direction).view_as(x).mul_(x)
    slope += GRADIENT_Y.to(x.device).index_select(0, direction).view_as(x).mul_(y)
    return weight.mul_(slope)


def _mix(code: torch.Tensor) -> torch.Tensor:
    """Spread the bits of int64 codes, in place; the top bits are the best ones."""
    code.mul_(MIX_1)
    code ^= code >> 32
    return code.mul_(MIX_2)


def _key(*parts: int) -> int:
    """One int64 from several integers (any Python integers); each bit depends on all of them."""
    word = 0
    for part in parts:
        word = ((word ^ (part & _WORD)) + 0x9E3779B97F4A7C15) & _WORD
        for shift in (30, 27, 31):
            word ^= word >> shift
            word = (word * 0xBF58476D1CE4E5B9) & _WORD
        word ^= word >> 32
    return word - (1 << 64) if word >> 63 else word


def _place_ore(maps: torch.Tensor, seed: int, first: int, chance: float) -> None:
    """Turn stone next to a walkable tile into ore rock, each with ``chance``; ``[n, H, W]``, in place."""
    size, width = maps[0].numel(), maps.shape[-1]
    flat = maps.view(-1)
    walkable = walkable_table(maps.device).index_select(0, flat.int()).view_as(maps)
    place = (_beside(walkable) & (maps == int(Material.STONE))).view(-1).nonzero()[:, 0]
    keys = [_key(seed, first + i, OCTAVES + 1) for i in range(len(maps))]
    # The draw depends on the tile, not on the position in the batch or the flat index.
    tile, key = place % size, torch.tensor(keys, device=maps.device, dtype=torch.int64)[place // size]
    draw = _mix((tile // width * STEP_I + tile % width * STEP_J) ^ key)
    draw = ((draw >> 32) & 0xFFFFFFFF).double() / 2.0**32
    flat[place[draw < chance]] = int(Material.ORE_ROCK)


# ------------------------------------------------------------------------------------------------- helpers


def _chunk(device: torch.device) -> int:
    """Tiles to draw at once."""
    return _CHUNK * torch.get_num_threads() if device.type == "cpu" else _GPU_CHUNK


def _beside(mask: torch.Tensor) -> torch.Tensor:
    """Whether one of the 4 neighbors is set: ``[..., H, W] bool`` to the same."""
    out = torch.zeros_like(mask)
    out[..., 1:, :] |= mask[..., :-1, :]
    out[..., :-1, :] |= mask[..., 1:, :]
    out[..., :, 1:] |= mask[..., :, :-1]
    out[..., :, :-1] |= mask[..., :, 1:]
    return out


def _check_border(height: int, width: int, border: int) -> None:
    if border < 0 or min(height, width) - 2 * border < 3:
        raise ConfigError(
            f"border is {border} on a map of {height} x {width} tiles; it must be 0 to "
            f"{(min(height, width) - 3) // 2}, to leave room for the ring of grass and terrain inside it"
        )


def _first(mask: torch.Tensor) -> tuple[int, int] | None:
    """Row and column of the first set tile of ``[H, W] bool``, or None."""
    if not bool(mask.any()):
        return None
    return divmod(int(mask.reshape(-1).to(torch.uint8).argmax()), mask.shape[1])


def _name(value: torch.Tensor) -> str:
    return MATERIALS[Material(int(value))].name
