"""Every tensor that the package makes has an explicit dtype and device.

torch's default dtype and default device belong to the user: a script that calls ``torch.set_default_dtype``
or ``torch.set_default_device`` must get the same world."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nmmo_gpu

PACKAGE = Path(nmmo_gpu.__file__).parent

FACTORIES = {
    "arange", "empty", "empty_strided", "eye", "full", "linspace", "logspace", "ones", "rand", "randint",
    "randn", "randperm", "range", "scalar_tensor", "tensor", "tril_indices", "triu_indices", "zeros",
}  # fmt: skip
"""Functions of torch that take the default dtype or the default device."""

CONVERSIONS = {"as_tensor", "asarray"}
"""Functions that keep the dtype of an array, but not its device."""

LAYERS = {
    "Bilinear", "BatchNorm1d", "Conv1d", "Conv2d", "Embedding", "EmbeddingBag", "GRU", "GRUCell", "LSTM",
    "LSTMCell", "LayerNorm", "Linear", "MultiheadAttention", "RNN",
}  # fmt: skip
"""Layers of torch.nn, which make parameters."""

TENSOR_CLASSES = {
    "Tensor",
    "FloatTensor",
    "DoubleTensor",
    "HalfTensor",
    "BFloat16Tensor",
    "IntTensor",
    "LongTensor",
}


def missing(source: str) -> list[tuple[int, str]]:
    """Line and call of each factory without ``dtype`` or ``device`` in a source."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        owner, _, function = name.rpartition(".")
        given = {keyword.arg for keyword in node.keywords}
        is_layer = owner in ("nn", "torch.nn") and function in LAYERS
        if is_layer or (owner == "torch" and function in FACTORIES):
            needed = {"dtype", "device"}
        elif (owner == "torch" and function in CONVERSIONS) or name == "torch.Generator":
            needed = {"device"}
        elif owner == "torch" and function in TENSOR_CLASSES:
            needed = {"a factory with dtype and device"}
        elif owner == "torch" and function == "where" and all(_is_number(a) for a in node.args[1:]):
            needed = {"tensors"}
        else:
            continue
        if needed - given:
            found.append((node.lineno, f"{ast.unparse(node)} lacks {', '.join(sorted(needed - given))}"))
    return found


def _is_number(node: ast.expr) -> bool:
    node = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(node, ast.Constant) and isinstance(node.value, (float, int))


def test_tensors_have_an_explicit_dtype_and_device() -> None:
    sources = sorted(PACKAGE.rglob("*.py"))
    assert len(sources) > 100
    problems = [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {what}"
        for path in sources
        for line, what in missing(path.read_text(encoding="utf-8"))
    ]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    "source",
    [
        "torch.zeros(3)",
        "torch.zeros(3, dtype=torch.int64)",
        "torch.arange(3, device=d)",
        "torch.tensor([1.0], device=d)",
        "torch.as_tensor(array)",
        "torch.Generator()",
        "torch.Tensor(3)",
        "torch.where(mask, 1.0, -1.0)",
        "nn.Linear(3, 4)",
        "torch.nn.Linear(3, 4, device=d)",
    ],
)
def test_an_implicit_dtype_or_device_is_found(source: str) -> None:
    assert len(missing(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "torch.zeros(3, dtype=torch.int64, device=d)",
        "torch.zeros_like(x)",
        "torch.where(mask, x, 0.0)",
        "nn.Linear(3, 4, dtype=t, device=d)",
        "torch.as_tensor(array, device=d)",
        "np.zeros(3)",
    ],
)
def test_an_explicit_one_is_not(source: str) -> None:
    assert not missing(source)
