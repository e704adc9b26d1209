"""Curves, heat map and config as TensorBoard reads them."""

from __future__ import annotations

import io
import json

import pytest
import torch
from train.small import small

from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.train import tensorboard
from nmmo_gpu.train.run import train
from nmmo_gpu.train.tensorboard import Dashboard

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read(run):
    """Returns all that was written."""
    found = event_accumulator.EventAccumulator(
        str(run / "tensorboard"), {"scalars": 0, "images": 0, "tensors": 0}
    )
    return found.Reload()


def test_curves_and_heat_map(tmp_path):
    """Every point has its step. The heat map has the map's size, and its brightest pixel is the most visited
    tile."""
    image = pytest.importorskip("PIL.Image")
    board = Dashboard(tmp_path, small(), None)
    board.curves({"a/one": 1.5, "b/two": -2.0}, 10)
    board.curves({"a/one": 2.5}, 30)
    visits = torch.zeros(5, 9, dtype=torch.int64)
    visits[3, 7], visits[1, 2] = 1000, 10
    board.visits(visits, 30)
    board.visits(torch.zeros(5, 9, dtype=torch.int64), 40)
    board.close()

    found = read(tmp_path)
    assert set(found.Tags()["scalars"]) == {"a/one", "b/two"}
    assert [(point.step, point.value) for point in found.Scalars("a/one")] == [(10, 1.5), (30, 2.5)]
    assert [(point.step, point.value) for point in found.Scalars("b/two")] == [(10, -2.0)]
    first, second = found.Images("visits")
    assert (first.step, first.height, first.width) == (30, 5, 9) and second.step == 40
    picture = image.open(io.BytesIO(first.encoded_image_string)).convert("RGB")
    assert picture.getpixel((7, 3)) == (255, 255, 255) and picture.getpixel((0, 0)) == (0, 0, 0)
    red, green, blue = picture.getpixel((2, 1))
    assert red == 255 > green >= blue, "log(11) of log(1001): a third of the way"
    blank = image.open(io.BytesIO(second.encoded_image_string)).convert("RGB")
    assert blank.getextrema() == ((0, 0), (0, 0), (0, 0))


def config_text(found):
    """The text written under ``config``."""
    (event,) = found.Tensors("config/text_summary")
    (text,) = event.tensor_proto.string_val
    return text.decode()


def test_the_config_is_stored_as_text(tmp_path):
    """It is indented JSON, which Markdown shows as it is, and it parses back to the config."""
    config = small(tmp_path, seed=77, targeting="learned", minutes=1.5)
    Dashboard(tmp_path, config, None).close()
    lines = config_text(read(tmp_path)).splitlines()
    assert all(line.startswith("    ") for line in lines)
    assert json.loads("\n".join(lines)) == to_plain(config)


def test_a_large_heat_map_is_downsampled(tmp_path, monkeypatch):
    """A pixel covers several tiles, fewer at the edge, and its brightness is their mean."""
    monkeypatch.setattr(tensorboard, "LARGEST_IMAGE", 4)
    images = []
    board = Dashboard(tmp_path, small(tmp_path), None)
    monkeypatch.setattr(board.writer, "add_image", lambda name, image, step: images.append(image))
    visits = torch.zeros(7, 5, dtype=torch.int64)
    visits[0, 1], visits[6, 4], visits[2:4, 2:4] = 12, 3, 3
    board.visits(visits, 1)
    monkeypatch.setattr(tensorboard, "TILES_AT_ONCE", 1)
    board.visits(visits, 1)
    board.close()
    image, by_rows = images
    assert torch.equal(image, by_rows)
    expected = torch.zeros(4, 3)
    expected[0, 0] = expected[3, 2] = expected[1, 1] = 3.0
    expected = expected.log1p() / expected.log1p().max()
    assert torch.allclose(image, torch.stack([(expected * 3 - part).clamp(0, 1) for part in range(3)]))


def test_the_heat_map_of_a_large_map_takes_little_memory(tmp_path, monkeypatch):
    """The image is small when it leaves the device, and no copy of the whole map is made there."""
    images, strips = [], []

    def pool(strip, *rest, pool=tensorboard.avg_pool2d, **named):
        strips.append(strip.nbytes)
        return pool(strip, *rest, **named)

    monkeypatch.setattr(tensorboard, "avg_pool2d", pool)
    board = Dashboard(tmp_path, small(tmp_path), None)
    monkeypatch.setattr(board.writer, "add_image", lambda name, image, step: images.append(image.shape))
    visits = torch.zeros(4096, 2048, dtype=torch.int64)
    board.visits(visits, 1)
    board.close()
    assert images == [(3, 512, 256)]
    assert sum(strips) == visits.nbytes == 8 * max(strips), "each tile is read once"


def test_a_resumed_run_replaces_points_after_its_checkpoint(tmp_path):
    """Points that the interrupted process wrote after the checkpoint are dropped, earlier ones are kept, and
    the config is written once."""
    config = small(tmp_path)
    board = Dashboard(tmp_path, config, None)
    for step in (10, 20, 30):
        board.curves({"curve": float(step)}, step)
    board.close()
    board = Dashboard(tmp_path, config, 20)
    board.curves({"curve": 25.0}, 25)
    board.close()
    found = read(tmp_path)
    assert [(point.step, point.value) for point in found.Scalars("curve")] == [(10, 10), (20, 20), (25, 25)]
    assert config_text(found)


def test_a_training_run_writes_its_curves(tmp_path):
    """There is one point per ``log_every`` iterations and one for the last, at the agent-steps done by
    then."""
    steps = []
    run = train(small(tmp_path / "run", iterations=5, log_every=2))
    found = read(tmp_path / "run")
    for name in (
        "population/alive per realm", "state/food", "combat/attacks per step", "learning/entropy",
        "learning/kl", "learning/value_loss", "learning/explained_variance", "learning/grad_norm",
        "rate/agent-steps per second", "rate/learning rate",
    ):  # fmt: skip
        points = found.Scalars(name)
        assert len(points) == 3, name
        steps.append([point.step for point in points])
    assert all(one == steps[0] for one in steps) and steps[0] == sorted(steps[0])
    assert steps[0][-1] == run.agent_steps
    (*_, last) = found.Images("visits")
    assert (last.height, last.width) == (40, 40)
    lived = found.Scalars("agent_steps")
    total = sum(point.value for point in lived)
    assert total == run.agent_steps, "each point covers the ticks since the previous one"
