#!/usr/bin/env python
"""Draws an image of a realm after some ticks of play.

python scripts/draw_picture.py docs/images/chaos.png --run RUN
"""

import argparse
import sys
from pathlib import Path

import torch

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.errors import NmmoError
from nmmo_gpu.replay.picture import save_picture
from nmmo_gpu.train import checkpoint
from nmmo_gpu.train.evaluate import Actor, as_v1_ran, policy_actor
from nmmo_gpu.train.trinity import trinity_named


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="image to write (.png)")
    parser.add_argument("--run", help="folder of a run whose policies play; random actions without one")
    parser.add_argument(
        "--trinity", nargs="+", default=(), help="the run's Sword or network, if custom: file.py:Class"
    )
    parser.add_argument("--ticks", type=int, default=400, help="number of ticks to play")
    parser.add_argument("--scale", type=int, default=10, help="pixels per tile")
    options = parser.parse_args()
    act: Actor
    try:
        if options.run:
            stored = checkpoint.load(Path(options.run), torch.device("cpu"))
            env = Env(as_v1_ran(stored.config.env, realms=1))
            act = policy_actor(stored, trinity_named(options.trinity).sword)(env)
        else:
            env = Env(EnvConfig(world=preset("chaos"), realms=1))
            act = random_actions
        env.reset()
        for _ in range(options.ticks):
            env.step(act(env))
        save_picture(env.world, options.file, scale=options.scale)
    except NmmoError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
