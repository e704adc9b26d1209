#!/usr/bin/env python
"""Joins images into an animated WebP:

python scripts/join_frames.py FOLDER/*.png docs/images/world-animated.webp --milliseconds 100
"""

import argparse
import sys
from pathlib import Path

from PIL import Image


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", nargs="+", type=Path, help="images of equal size, in order")
    parser.add_argument("file", type=Path, help="animation to write (.webp)")
    parser.add_argument("--milliseconds", type=int, default=100, help="duration of each frame")
    parser.add_argument("--quality", type=int, default=60, help="0 to 100")
    parser.add_argument("--megabytes", type=float, default=3.0, help="exit status 1 if the file is larger")
    options = parser.parse_args()
    first, *others = (Image.open(frame).convert("RGB") for frame in options.frames)
    first.save(
        options.file, save_all=True, append_images=others, duration=options.milliseconds, loop=0,
        quality=options.quality, method=4,
    )  # fmt: skip
    size = options.file.stat().st_size / 1e6
    print(f"{options.file}: {1 + len(others)} frames, {size:.2f} MB")
    return int(size > options.megabytes)


if __name__ == "__main__":
    sys.exit(main())
