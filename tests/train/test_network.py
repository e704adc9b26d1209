"""Networks by name: what a class is called, whether it is the one wanted, and how ``--network`` finds it."""

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
    """The stock network with its tensors, but another encoding: only its name tells them apart."""

    def encode(self, records, index, views, weights):
        hidden, entities = super().encode(records, index, views, weights)
        return -hidden, entities


@pytest.fixture
def forget_example():
    """Takes the example out of ``sys.modules`` when a test is done with it."""
    yield
    sys.modules.pop(EXAMPLE.stem, None)


def test_names():
    """Module and qualified name, also of a class within another."""

    class Inner(Policy):
        pass

    assert network_name(Policy) == STOCK
    assert network_name(Same) == f"{__name__}:Same"
    assert network_name(Inner) == f"{__name__}:test_names.<locals>.Inner"


SCRIPT = """
from nmmo_gpu.train.network import network_name
from nmmo_gpu.train.policy import Policy

class Mine(Policy):
    pass

print(network_name(Mine))
"""


@pytest.mark.parametrize("how", ["file", "-m"])
def test_a_scripts_class_is_named_by_its_module(tmp_path, how):
    """As it can be imported later, and not by ``__main__``."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.py").write_text(SCRIPT)
    arguments = ["folder/mine.py"] if how == "file" else ["-m", "folder.mine"]
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == ("mine:Mine" if how == "file" else "folder.mine:Mine"), done.stderr


def test_a_class_that_moved_can_leave_an_alias(monkeypatch):
    """The former name, in a module that is imported, stands for the class; a module that is not imported yet
    stays so, whatever a checkpoint says."""
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
    """The same class for the same name, twice."""
    assert load_network(STOCK) is Policy
    for name in (f"{EXAMPLE}:Attentive", "trinity_network:Attentive"):
        monkeypatch.syspath_prepend(EXAMPLE.parent)
        found = load_network(name)
        assert issubclass(found, Policy) and network_name(found) == "trinity_network:Attentive"
        assert load_network(name) is found


@pytest.mark.parametrize(("name", "said"), [
    ("Attentive", "does not name a class"),
    (":Attentive", "does not name a class"),
    ("nmmo_gpu.train.policy:", "does not name a class"),
    ("nmmo_gpu.no_such:Attentive", "no module nmmo_gpu.no_such; put its folder into PYTHONPATH"),
    ("no_such_module.at_all:Attentive", "no module no_such_module.at_all"),
    ("no/such/file.py:Attentive", "no file no/such/file.py"),
    ("nmmo_gpu.train.policy:Attentive", "nmmo_gpu.train.policy has no Attentive"),
    ("nmmo_gpu.train.policy:Output", "not a subclass of nmmo_gpu.train.policy:Policy"),
    ("nmmo_gpu.train.policy:MASKED", "not a subclass of nmmo_gpu.train.policy:Policy"),
])  # fmt: skip
def test_names_that_lead_nowhere(name, said):
    """ConfigError with the name, what is wrong with it, and how to name a class."""
    with pytest.raises(ConfigError) as error:
        load_network(name)
    assert repr(name) in str(error.value) and said in str(error.value)


def test_a_module_that_fails_is_not_said_to_be_missing(tmp_path):
    """What is missing within it is reported as it is, and the module is not left behind half made."""
    (tmp_path / "needy.py").write_text("import no_such_module_either\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_either"):
        load_network(f"{tmp_path / 'needy.py'}:Mine")
    assert "needy" not in sys.modules


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(network, folder) of a run with the example's network: more tensors than the stock one's."""
    network = load_network(f"{EXAMPLE}:Attentive")
    folder = tmp_path_factory.mktemp("attentive")
    train(small(folder, iterations=1), trinity=Trinity(sword=sword_with(network)))
    yield network, folder
    sys.modules.pop(EXAMPLE.stem, None)


def test_a_checkpoint_names_the_network(trained):
    """In the file, for custom and stock networks."""
    assert checkpoints.load(trained[1], CPU).network == "trinity_network:Attentive"
    assert Run(small()).checkpoint().network == STOCK


SAID = r"its network is trinity_network:Attentive.*--network trinity_network:Attentive.*Trinity\(sword="


def test_going_on_with_another_network_is_refused(trained):
    """With the stock network, and with one of the same tensors as that: the error says which class is needed
    and how to give it, and every file of the run keeps its bytes. With its own network the run goes on."""
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
    with pytest.raises(CheckpointError, match=rf"its network is {STOCK}, and {__name__}:Same cannot"):
        Run(small(), stored, Trinity(sword=sword_with(Same)))


def test_the_stock_sword_stays_itself():
    """Only another network makes another class."""
    assert sword_with(Policy) is Sword
    assert sword_with(Same).network is Same and issubclass(sword_with(Same), Sword)
