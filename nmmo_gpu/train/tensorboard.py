"""TensorBoard output: curves, a heat map and the config."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.utils.tensorboard import SummaryWriter

from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.train.config import TrainConfig

LARGEST_IMAGE = 512
"""Maximum length of a side of the heat map in pixels."""
TILES_AT_ONCE = 1 << 20
"""Tiles that are averaged at once. As float64, the largest map would take as much memory as the counts."""


class Dashboard:
    """Writes to ``<run>/tensorboard``; the step of every point is the number of agent-steps so far."""

    def __init__(self, run: Path, config: TrainConfig, resumed_at: int | None) -> None:
        """Opens the event file.

        Args:
            run: folder of the run.
            config: settings of the run, shown as text.
            resumed_at: agent-steps at which a resumed run continues. Later points are dropped; without a
                value all points, which a run that was killed before its first checkpoint may have left."""
        self.writer = SummaryWriter(
            str(run / "tensorboard"), purge_step=0 if resumed_at is None else resumed_at + 1
        )
        if resumed_at is None:
            text = json.dumps(to_plain(config), indent=2)
            self.writer.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()))

    def curves(self, values: dict[str, float], step: int) -> None:
        """Adds one point to each curve."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def visits(self, visits: Tensor, step: int) -> None:
        """Writes the heat map of [H, W] int64 counts: the more visits, the brighter (logarithmic).

        If a side of the map is longer than ``LARGEST_IMAGE``, each pixel is the mean of several tiles: an
        image of 8192 x 8192 pixels would take more time than the iterations between two reports."""
        tiles = -(-max(visits.shape) // LARGEST_IMAGE)
        rows = tiles * max(1, TILES_AT_ONCE // (tiles * visits.shape[1]))
        means = [
            avg_pool2d(visits[start : start + rows].double()[None], tiles, ceil_mode=True)[0]
            for start in range(0, visits.shape[0], rows)
        ]
        heat = torch.cat(means).log1p()
        heat = (heat / heat.max().clamp(min=1e-9)).float()
        # Black, red, yellow, white.
        image = torch.stack([(heat * 3 - part).clamp(0, 1) for part in range(3)])
        self.writer.add_image("visits", image.cpu(), step)

    def close(self) -> None:
        """Flushes and closes the files."""
        self.writer.close()
