"""Measurements of speed: ``nmmo-gpu bench``."""
