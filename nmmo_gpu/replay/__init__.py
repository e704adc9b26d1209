"""Replays: what happened in a realm, tick by tick, in a file (docs/replay-format.md)."""
