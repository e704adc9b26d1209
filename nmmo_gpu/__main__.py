"""``python -m nmmo_gpu`` is ``nmmo-gpu``."""

from nmmo_gpu.cli.main import main

main()
