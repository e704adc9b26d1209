"""Parts of training as Triton kernels; twins of functions in ``nmmo_gpu.train``."""

from nmmo_gpu.kernels.train.evaluation import evaluate
from nmmo_gpu.kernels.train.gae import advantages
from nmmo_gpu.kernels.train.inputs import encode_inputs
from nmmo_gpu.kernels.train.layers import hidden_layers
from nmmo_gpu.kernels.train.living import living_first
from nmmo_gpu.kernels.train.loss import loss
from nmmo_gpu.kernels.train.sampling import choose
from nmmo_gpu.kernels.train.tally import count
from nmmo_gpu.kernels.train.weights import gather_sum

TRAINING = {
    "encode_inputs": encode_inputs,
    "hidden_layers": hidden_layers,
    "gather_sum": gather_sum,
    "advantages": advantages,
    "count": count,
    "living_first": living_first,
    "choose": choose,
    "evaluate": evaluate,
    "loss": loss,
}
"""Functions by the name of their field in ``nmmo_gpu.train.training_backend.TrainingBackend``."""
