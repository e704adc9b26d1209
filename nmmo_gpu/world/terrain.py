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
from collections.abc import Sequence

import torch

from nmmo_gpu.config import MAX_SIDE, MIN_SIDE
from nmmo_gpu.config.bounds import checked
from nmmo_gpu.content import MATERIALS, Material, walkable_table
from nmmo_gpu.errors import ConfigError, MapError

OCTAVES = 8
WATER_BELOW, GRASS_BELOW, FOREST_BELOW = 0.3, 0.57, 0.715
ORE_CHANCE = 0.15

_SKEW = (math.sqrt(3.0) - 1.0) / 2.0
_UNSKEW = (3.0 - math.sqrt(3.0)) / 6.0
_EDGE = math.sqrt(2.0 / 3.0)  # distance of neighboring lattice points, in noise coordinates
_TILES_PER_UNIT = 5.0 * math.sqrt(2.0) / _EDGE
_AMPLITUDE = 16.07  # puts the noise's peaks at 0.88, as calibrated to v1's share of water

_BLOCK = 80  # side of the area whose maximum v1 divides by
_BLOCKS_A_SIDE = 8  # with 64 blocks their mean is accurate to within 0.3 %

_PLACES = 1 << 16  # number of rows and columns of the noise where a map's corner can be

# Tiles at once: per thread on a CPU, so that they fit into its cache, and on a GPU.
_CHUNK, _GPU_CHUNK = 1 << 15, 1 << 22
_WORD = (1 << 64) - 1
# Odd 63-bit constants, so that they fit int64: lattice steps, and the mixer's multipliers (torch wraps).
_STEP_I, _STEP_J = 0x1E3779B97F4A7C15, 0x42B2AE3D27D4EB4F
_MIX_1, _MIX_2 = 0x3F58476D1CE4E5B9, 0x14D049BB133111EB
_ANGLE = torch.arange(32, dtype=torch.float64, device="cpu") * (2.0 * math.pi / 32)
_GRADIENT_X, _GRADIENT_Y = _ANGLE.cos().float(), _ANGLE.sin().float()


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
) -> torch.Tensor:
    """Make ``count`` random maps: ``[count, height, width] uint8`` materials, on ``device``.

    ``border`` tiles of lava, a ring of grass one tile wide, and terrain inside it. Map ``i`` is a pure
    function of (``seed``, ``first + i``, size, border, ore): it depends neither on the number of maps in the
    call nor on the device. With ``ore`` a stone tile with a walkable 4-neighbor is an ore rock with
    probability ``ore_chance``. Memory beyond the result is a few MB per thread on a CPU, and some 500 MB on a
    GPU (with ``ore``, about the size of one map more).

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
    batch = max(1, _chunk(maps.device) // max(height * width, _BLOCK**2))
    for start in range(0, count, batch):
        indices = range(first + start, first + min(start + batch, count))
        made = maps[start : start + len(indices)]
        _fill(made, seed, indices, border)
        if ore:
            _place_ore(made, [_key(seed, index, OCTAVES + 1) for index in indices], ore_chance)
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


def _fill(out: torch.Tensor, seed: int, indices: Sequence[int], border: int) -> None:
    """Draw ring and terrain of the maps ``indices`` into ``out`` (``[n, H, W] uint8``, lava so far)."""
    (_, height, width), device = out.shape, out.device
    out[:, border : height - border, border : width - border] = int(Material.GRASS)
    noise = _Noise(seed, indices, device)
    kinds = torch.tensor(
        [Material.WATER, Material.GRASS, Material.FOREST, Material.STONE], dtype=torch.uint8, device="cpu"
    )
    kinds = kinds.to(device)
    inner = out[:, border + 1 : height - border - 1, border + 1 : width - border - 1]
    rows, columns = (
        torch.arange(border + 1, side - border - 1, dtype=torch.int64, device="cpu")
        for side in (height, width)
    )

    def draw(value: torch.Tensor, divisor: torch.Tensor, start: int, stop: int) -> None:
        thresholds = divisor[:, None] * torch.tensor(
            [WATER_BELOW, GRASS_BELOW, FOREST_BELOW], dtype=torch.float32, device="cpu"
        )
        kind = torch.searchsorted(thresholds.to(device), value.flatten(1), right=True, out_int32=True)
        inner[:, start:stop] = kinds[kind].view_as(inner[:, start:stop])

    if height <= _BLOCK and width <= _BLOCK:
        # The map is inside the area whose maximum it is divided by.
        side = torch.arange(_BLOCK, dtype=torch.int64, device="cpu")
        value = noise.ridged(side, side)
        crop = value[:, border + 1 : height - border - 1, border + 1 : width - border - 1]
        draw(crop, _mean([value.amax((1, 2))]), 0, len(rows))
        return
    divisor = noise.divisor(height, width)
    step = max(1, _chunk(device) // (len(indices) * len(columns)))
    for start in range(0, len(rows), step):
        draw(noise.ridged(rows[start : start + step], columns), divisor, start, start + step)


class _Noise:
    """The noise fields of n maps: functions of the tile's row and column, whatever the maps' size."""

    def __init__(self, seed: int, indices: Sequence[int], device: torch.device) -> None:
        self.device = device
        self.keys = [
            torch.tensor(
                [[[_key(seed, index, octave)]] for index in indices], device=device, dtype=torch.int64
            )
            for octave in range(OCTAVES)
        ]
        # The position of a map in the noise: whole tiles from the lattice's origin. The lattice repeats after
        # (5, -5) tiles, so a fraction of a tile would be the same all over a map, and would determine how
        # closely its tiles match the lattice points, where every octave has its peaks. Whole tiles give
        # the maxima that v1's fractions require; random fractions give about 2 % less, and too much
        # stone.
        shifts = [_key(seed, index, OCTAVES) & _WORD for index in indices]
        self.shift = torch.tensor(
            [(1024 + (s >> 32) % _PLACES, 1024 + (s & 0xFFFFFFFF) % _PLACES) for s in shifts],
            dtype=torch.int64,
            device="cpu",
        )

    def ridged(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Sum of the ridged octaves, not divided: ``[h], [w] int64`` tiles to ``[n, h, w] float32``."""
        # Divided on the CPU: a GPU would multiply by the reciprocal, which rounds differently.
        row = ((rows + self.shift[:, :1]).double() / _TILES_PER_UNIT).to(self.device)
        column = ((columns + self.shift[:, 1:]).double() / _TILES_PER_UNIT).to(self.device)
        total = torch.zeros(1, dtype=torch.float32, device="cpu")
        for octave, key in enumerate(self.keys):
            n = _simplex(row * 2.0**octave, column * 2.0**octave, key)
            # 2 (0.5 - |0.5 - (n + 1) / 2|) is 1 - |n|
            value = n.abs_().neg_().add_(1.0).mul_(0.5**octave)
            total = value if octave == 0 else value.mul_(total).add_(total)
        return total

    def divisor(self, height: int, width: int) -> torch.Tensor:
        """The divisor of the sums, chosen so that the thresholds mean the same on a map of any size: ``[n]
        float32`` on the CPU.

        v1 divides by the map's own maximum. Over a larger area the maximum is larger, which would turn stone
        into forest and grass into water, and the reverse on a smaller map. Therefore the maximum is always
        that of 80x80 tiles: of the map itself at 80x80, of the 80x80 tiles of noise whose corner is the map
        if it is smaller, and the mean over up to 8x8 such areas, evenly spread, if it is larger.
        """
        side = torch.arange(_BLOCK, dtype=torch.int64, device="cpu")
        return _mean(
            [
                self.ridged(side + top, side + left).amax((1, 2))
                for top in _starts(height)
                for left in _starts(width)
            ]
        )


def _mean(maxima: list[torch.Tensor]) -> torch.Tensor:
    """The mean of several ``[n] float32``, on the CPU, where sums always round the same way: ``[n]
    float32``."""
    return torch.stack(maxima, -1).cpu().double().mean(-1).float()


def _starts(size: int) -> list[int]:
    """First rows (or columns) of the blocks whose maxima are averaged, evenly spread over ``size`` tiles."""
    blocks = min(max(1, size // _BLOCK), _BLOCKS_A_SIDE)
    return [k * max(0, size - _BLOCK) // max(1, blocks - 1) for k in range(blocks)]


def _simplex(row: torch.Tensor, column: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """2-D simplex noise on n grids: ``[n, h], [n, w] float64`` coordinates to ``[n, h, w] float32`` within
    +-0.88; ``key`` is ``[n, 1, 1] int64``.

    Positions are float64, because at the last octave a large map is a million lattice cells wide; positions
    within a cell are float32.
    """
    row, column = row[:, :, None], column[:, None, :]
    skew = (row + column) * _SKEW
    v, u = row + skew, column + skew
    i, j = v.floor(), u.floor()
    cell = i.long().mul_(_STEP_I).add_(j.long().mul_(_STEP_J))
    v, u = (v - i).float(), (u - j).float()
    unskew = (u + v) * _UNSKEW
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
    both = 1.0 - 2.0 * _UNSKEW
    total += _corner(x - both, y - both, (cell + (_STEP_I + _STEP_J)) ^ key)
    mid_cell = torch.where(right, cell + _STEP_J, cell + _STEP_I)
    total += _corner(x - mid_j + _UNSKEW, y - mid_i + _UNSKEW, mid_cell.bitwise_xor_(key))
    last = (last_i + last_j) * _UNSKEW
    last_cell = last_i.long().mul_(_STEP_I).add_(last_j.long().mul_(_STEP_J)).add_(cell)
    total += _corner(x - last_j + last, y - last_i + last, last_cell.bitwise_xor_(key))
    return total.mul_(_AMPLITUDE)


def _corner(x: torch.Tensor, y: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    """The contribution of one lattice point: gradient . (x, y) * (r^2 - d^2)^4; overwrites ``code``
    (int64)."""
    direction = _mix(code).bitwise_right_shift_(59).bitwise_and_(31).view(-1)
    weight = (_EDGE**2 - x * x - y * y).clamp_(min=0.0)
    weight *= weight
    weight *= weight
    slope = _GRADIENT_X.to(x.device).index_select(0, direction).view_as(x).mul_(x)
    slope += _GRADIENT_Y.to(x.device).index_select(0, direction).view_as(x).mul_(y)
    return weight.mul_(slope)


def _mix(code: torch.Tensor) -> torch.Tensor:
    """Spread the bits of int64 codes, in place; the top bits are the best ones."""
    code.mul_(_MIX_1)
    code ^= code >> 32
    return code.mul_(_MIX_2)


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


def _place_ore(material: torch.Tensor, keys: list[int], chance: float) -> None:
    """Turn stone next to a walkable tile into ore rock, each with ``chance``; ``[n, H, W]``, in place."""
    size, width = material[0].numel(), material.shape[-1]
    flat = material.view(-1)
    walkable = walkable_table(material.device).index_select(0, flat.int()).view_as(material)
    place = (_beside(walkable) & (material == int(Material.STONE))).view(-1).nonzero()[:, 0]
    # The draw depends on the tile, not on the position in the batch or the flat index.
    tile, key = place % size, torch.tensor(keys, device=material.device, dtype=torch.int64)[place // size]
    draw = _mix((tile // width * _STEP_I + tile % width * _STEP_J) ^ key)
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
