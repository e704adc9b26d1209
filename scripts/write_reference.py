#!/usr/bin/env python
"""Writes docs/observation.md from the code."""

from pathlib import Path

from nmmo_gpu.adapters.observation_page import observation_page

if __name__ == "__main__":
    (Path(__file__).parents[1] / "docs" / "observation.md").write_text(observation_page())
