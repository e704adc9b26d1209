"""Networks by name: how a class is named, compared and found by ``--network``."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest
from train.small import CPU, small, state_of

from nmmo_gpu.errors import CheckpointError, ConfigError
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.network import check_network, load_network, network_name
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.run import Run, resume, train
from nmmo_gpu.train.trinity import Sword, Trinity, sword_with

STOCK = "nmmo_gpu.train.policy:Policy"
EXAMPLE = Path(__file__).parents[2] / "examples" / "trinity_network.py"


class Same(Policy):
    """The stock network with its tensors but another encoding: only the name tells them apart."""

    def encode(self, records, index, views, weights):
        hidden, entities = super().encode(records, index, views, weights)
        return -hidden, entities


@pytest.fixture
def forget_example():
    """Removes the example from ``sys.modules`` after a test."""
    yield
    sys.modules.pop(EXAMPLE.stem, None)


def test_network_names():
    """A name has the module and the qualified name, also for a nested class."""

    class Inner(Policy):
        pass

    assert network_name(Policy) == STOCK
    assert network_name(Same) == f"{__name__}:Same"
    assert network_name(Inner) == f"{__name__}:test_network_names.<locals>.Inner"


SCRIPT = """
from nmmo_gpu.train.network import network_name
from nmmo_gpu.train.policy import Policy

class Mine(Policy):
    pass

print(network_name(Mine))
"""


@pytest.mark.parametrize("how", ["file", "-m"])
def test_a_class_of_a_script_is_named_by_its_module(tmp_path, how):
    """The name can be imported later and is not ``__main__``."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.py").write_text(SCRIPT)
    arguments = ["folder/mine.py"] if how == "file" else ["-m", "folder.mine"]
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == ("mine:Mine" if how == "file" else "folder.mine:Mine"), done.stderr


def test_a_moved_class_can_have_an_alias(monkeypatch):
    """The old name in an imported module refers to the class. A checkpoint's name does not import a
    module."""
    check_network(Same, network_name(Same))
    former = types.ModuleType("former")
    with pytest.raises(CheckpointError, match="former:Old"):
        check_network(Same, "former:Old")
    monkeypatch.setitem(sys.modules, "former", former)
    with pytest.raises(CheckpointError, match="former:Old"):
        check_network(Same, "former:Old")
    former.Old = Same
    check_network(Same, "former:Old")
    with pytest.raises(CheckpointError):
        check_network(Policy, "former:Old")
    with pytest.raises(CheckpointError):
        check_network(Policy, "this:Is")
    assert "this" not in sys.modules


def test_networks_are_found_by_module_and_by_file(forget_example, monkeypatch):
    """The same name gives the same class twice."""
    assert load_network(STOCK) is Policy
    for name in (f"{EXAMPLE}:Attentive", "trinity_network:Attentive"):
        monkeypatch.syspath_prepend(EXAMPLE.parent)
        found = load_network(name)
        assert issubclass(found, Policy) and network_name(found) == "trinity_network:Attentive"
        assert load_network(name) is found


@pytest.mark.parametrize(("name", "message"), [
    ("Attentive", "does not name a class"),
    (":Attentive", "does not name a class"),
    ("nmmo_gpu.train.policy:", "does not name a class"),
    ("nmmo_gpu.no_such:Attentive", "no module nmmo_gpu.no_such; add its folder to PYTHONPATH"),
    ("no_such_module.at_all:Attentive", "no module no_such_module.at_all"),
    ("no/such/file.py:Attentive", "no file no/such/file.py"),
    ("nmmo_gpu.train.policy:Attentive", "nmmo_gpu.train.policy has no Attentive"),
    ("nmmo_gpu.train.policy:Output", "not a subclass of torch.nn.Module"),
    ("nmmo_gpu.train.output:MASKED", "not a subclass of torch.nn.Module"),
])  # fmt: skip
def test_invalid_network_names_are_refused(name, message):
    """The ConfigError has the name, the fault and how to name a class."""
    with pytest.raises(ConfigError) as error:
        load_network(name)
    assert repr(name) in str(error.value) and message in str(error.value)


def test_an_import_error_inside_a_module_is_reported_as_it_is(tmp_path):
    """The error names the module missing inside, and no half-initialized module stays in ``sys.modules``."""
    (tmp_path / "needy.py").write_text("import no_such_module_either\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_either"):
        load_network(f"{tmp_path / 'needy.py'}:Mine")
    assert "needy" not in sys.modules


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns (network, folder) of a run with the example's network, which has more tensors than the stock
    network."""
    network = load_network(f"{EXAMPLE}:Attentive")
    folder = tmp_path_factory.mktemp("attentive")
    train(small(folder, iterations=1), trinity=Trinity(sword=sword_with(network)))
    yield network, folder
    sys.modules.pop(EXAMPLE.stem, None)


def test_a_checkpoint_names_its_network(trained):
    """The file has the name of custom and stock networks."""
    assert checkpoints.load(trained[1], CPU).network == "trinity_network:Attentive"
    assert Run(small()).checkpoint().network == STOCK


SAID = r"its network is trinity_network:Attentive.*--network trinity_network:Attentive.*Trinity\(sword="


def test_resuming_with_another_network_is_refused(trained):
    """The default network is refused, and so is one with the same tensors as that. The error says which class
    is needed and how to give it, and every file of the run keeps its bytes. With its own network the run
    resumes."""
    network, folder = trained
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {folder / checkpoints.FILE, folder / "config.json"} < before.keys()
    for trinity in (None, Trinity(sword=sword_with(Same))):
        with pytest.raises(CheckpointError, match=SAID):
            train(*resume(str(folder), iterations=2), trinity)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    run = train(*resume(str(folder), iterations=2), Trinity(sword=sword_with(network)))
    assert run.iteration == 2 and {"policy.ask", "policy.answer"} <= state_of(run).keys()
    assert {"policy.ask", "policy.answer"} <= checkpoints.load(folder, CPU).tensors.keys()


def test_a_network_with_the_same_tensors_is_another_network():
    """A stock checkpoint is not loaded into a class that computes something else with its tensors."""
    stored = Run(small()).checkpoint()
    with pytest.raises(CheckpointError, match=rf"its network is {STOCK}, not {__name__}:Same;"):
        Run(small(), stored, Trinity(sword=sword_with(Same)))


def test_the_stock_sword_keeps_its_class():
    """Only another network needs another class."""
    assert sword_with(Policy) is Sword
    assert sword_with(Same).network is Same and issubclass(sword_with(Same), Sword)
