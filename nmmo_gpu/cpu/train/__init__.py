"""Parts of the learner as compiled loops (numba), for CPUs; same names as the functions in torch.

The world's phases do not import them."""

from nmmo_gpu.cpu.train.features import encode_features
from nmmo_gpu.cpu.train.sampling import evaluate, sample
from nmmo_gpu.cpu.train.window import window_embedding

TRAINING = {"window_embedding": window_embedding, "encode_features": encode_features}
"""Functions by the name of their field in ``nmmo_gpu.train.training_backend.TrainingBackend``."""

TRAINING_EXTENDED = {"sample": sample, "evaluate": evaluate}
"""Those for the full game alone: with the few heads of ``law`` and ``chaos`` torch is as fast."""
