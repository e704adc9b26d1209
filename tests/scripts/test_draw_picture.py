"""A picture of a realm in which a run's policies play."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from PIL import Image
from train.small import small

from nmmo_gpu.train.class_names import load_object
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.trinity import Trinity, sword_with

ROOT = Path(__file__).parents[2]
NETWORK = f"{ROOT / 'examples' / 'trinity_network.py'}:Attentive"


@pytest.fixture
def draw(monkeypatch):
    """Runs the script with a command line; returns its exit status."""
    spec = importlib.util.spec_from_file_location("draw_picture", ROOT / "scripts" / "draw_picture.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["draw_picture", *map(str, arguments)])
        return script.main()

    return run


@pytest.fixture
def stored(tmp_path):
    """The folder of a run with the example's network that has not learned anything."""
    run = Run(small(run=tmp_path), trinity=Trinity(sword=sword_with(load_object(NETWORK))))
    run.save()
    yield tmp_path
    sys.modules.pop("trinity_network", None)


def test_a_run_with_a_network_of_its_own_is_drawn(draw, stored):
    file = stored / "drawn.png"
    assert draw(file, "--run", stored, "--trinity", NETWORK, "--ticks", 3, "--scale", 2) == 0
    with Image.open(file) as picture:
        assert picture.size == (80, 80)


def test_without_its_network_the_run_is_refused(draw, stored, capsys):
    """The error says how to name the network, and no picture is written."""
    file = stored / "drawn.png"
    assert draw(file, "--run", stored, "--ticks", 3) == 2
    assert "--trinity trinity_network:Attentive" in capsys.readouterr().err
    assert not file.exists()
