"""An image of a realm from above: terrain, agents in their population's color, and NPCs."""

from __future__ import annotations

import colorsys
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from nmmo_gpu.content import MATERIALS, Material
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.state import World


def population_colors(populations: int) -> list[tuple[int, int, int]]:
    """RGB per population: hues spread evenly, alternating light and dark so that neighbors differ."""
    colors = []
    for population in range(populations):
        red, green, blue = colorsys.hsv_to_rgb(population / populations, 0.85, (1.0, 0.8)[population % 2])
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colors


def npc_colors(kinds: int) -> list[tuple[int, int, int]]:
    """RGB per kind of NPC: from white to black, which no population has."""
    return [(round(255 * (1 - k / max(1, kinds - 1))),) * 3 for k in range(kinds)]


def draw_realm(world: World, realm: int = 0, scale: int = 10) -> Image.Image:
    """The realm as an image of ``scale`` pixels per tile, including eaten forest: agents are discs, NPCs
    diamonds.

    Raises ConfigError if the realm does not exist."""
    if not 0 <= realm < world.realms:
        raise ConfigError(f"realm = {realm} does not exist; choose a value from 0 to {world.realms - 1}.")
    palette = torch.tensor([MATERIALS[m].color for m in Material], dtype=torch.uint8, device="cpu")
    material = world.material[realm].cpu()
    pixels = palette[material.long()]
    pixels = _textured(pixels, material).repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    image = Image.fromarray(pixels.numpy())
    brush = ImageDraw.Draw(image)
    gap = int(scale >= 4)
    config = world.config
    colors = population_colors(config.populations)
    npcs = npc_colors(len(config.npc_counts))
    kinds = [kind for kind, number in enumerate(config.npc_counts) for _ in range(number)]
    for slot in world.alive[realm].nonzero().squeeze(1).tolist():
        top, left = int(world.row[realm, slot]) * scale, int(world.col[realm, slot]) * scale
        box = (left + gap, top + gap, left + scale - 1 - gap, top + scale - 1 - gap)
        if slot < config.slots:
            brush.ellipse(box, fill=colors[slot // config.population_size], outline=(20, 20, 20))
            continue
        middle_x, middle_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        corners = [(middle_x, box[1]), (box[2], middle_y), (middle_x, box[3]), (box[0], middle_y)]
        brush.polygon(corners, fill=npcs[kinds[slot - config.slots]], outline=(20, 20, 20))
    return image


def save_picture(world: World, path: str | Path, realm: int = 0, scale: int = 10) -> None:
    """Writes ``draw_realm`` to a file; the file extension determines the format."""
    draw_realm(world, realm, scale).save(path)


def _textured(pixels: Tensor, material: Tensor) -> Tensor:
    """Varies the brightness of each tile slightly, so that large areas are not flat."""
    height, width = material.shape
    row, col = torch.meshgrid(
        torch.arange(height, dtype=torch.int64, device="cpu"),
        torch.arange(width, dtype=torch.int64, device="cpu"),
        indexing="ij",
    )
    shade = ((row * 7919 + col * 104729) * 2654435761 >> 16) % 17 - 8
    return (pixels.int() + shade[..., None]).clamp(0, 255).to(torch.uint8)
