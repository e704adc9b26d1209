"""The picture shows the state of the world."""

import pytest
import torch
from PIL import Image

from nmmo_gpu.content import MATERIALS, Material
from nmmo_gpu.env import make
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.replay.picture import draw_realm, npc_colors, population_colors, save_picture


@pytest.fixture(scope="module")
def world():
    env = make("chaos", realms=2, births=-1, seed=5, height=33, width=47)
    env.reset()
    return env.world


def test_tiles_have_the_color_of_their_material(world):
    """Within the range of the texture; checked in the corner of the tile, which no agent covers."""
    picture = draw_realm(world, 1, scale=6)
    assert picture.size == (47 * 6, 33 * 6)
    for material in (Material.LAVA, Material.GRASS, Material.FOREST, Material.STONE, Material.WATER):
        row, col = (world.material[1] == material).nonzero()[0].tolist()
        seen = picture.getpixel((col * 6, row * 6))
        assert max(abs(a - b) for a, b in zip(seen, MATERIALS[material].color, strict=True)) <= 8


def test_agents_have_the_color_of_their_population(world):
    picture = draw_realm(world, 0, scale=10)
    colors = population_colors(world.config.populations)
    assert len(set(colors)) == world.config.populations
    slots = world.alive[0].nonzero().squeeze(1)
    assert len(slots) > 20
    for slot in slots.tolist():
        at = (int(world.col[0, slot]) * 10 + 5, int(world.row[0, slot]) * 10 + 5)
        assert picture.getpixel(at) == colors[slot // world.config.population_size]


def test_npcs_have_the_color_of_their_kind():
    """Each kind has a color that no population has; agents next to NPCs keep theirs."""
    env = make("full", realms=1, births=-1, seed=5, height=33, width=47, slots=16, npc_numbers=(9, 6, 4))
    env.reset()
    world = env.world
    world.alive[0, 16:] = True  # NPCs are born over time; here all of them live, at any place
    world.row[0, 16:], world.col[0, 16:] = torch.arange(19) + 7, 1
    picture = draw_realm(world, 0, scale=10)
    colors = npc_colors(3)
    assert len({*colors, *population_colors(world.config.populations)}) == 3 + world.config.populations
    for npc in range(19):
        kind = 0 if npc < 9 else 1 if npc < 15 else 2
        assert picture.getpixel((15, (npc + 7) * 10 + 5)) == colors[kind]
    for slot in world.alive[0, :16].nonzero().squeeze(1).tolist():
        at = (int(world.col[0, slot]) * 10 + 5, int(world.row[0, slot]) * 10 + 5)
        assert picture.getpixel(at) == population_colors(8)[slot // 2]


def test_a_picture_is_written_to_a_file(world, tmp_path):
    save_picture(world, tmp_path / "realm.png", scale=2)
    with Image.open(tmp_path / "realm.png") as image:
        assert image.size == (94, 66)


def test_a_missing_realm_is_refused(world):
    with pytest.raises(ConfigError, match="realm = 2"):
        draw_realm(world, 2)
    assert torch.equal(world.tick, torch.tensor([1]))
