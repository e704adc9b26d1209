"""Classes by name: how they are named in checkpoints, compared, and found by ``--trinity``."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from train.small import CPU, small, state_of

from nmmo_gpu.errors import CheckpointError, ConfigError
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.class_names import (
    STOCK,
    ClassNames,
    check_classes,
    class_name,
    class_option,
    load_object,
)
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.run import Run, resume, train
from nmmo_gpu.train.trinity import God, Pantheon, Sword, Trinity, sword_with, trinity_named, trinity_of

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = EXAMPLES / "trinity_network.py"


class Same(Policy):
    """The stock network with its tensors but another encoding: only the name tells them apart."""

    def encode(self, records, index, views, weights):
        hidden, entities = super().encode(records, index, views, weights)
        return -hidden, entities


class Calm(Sword):
    """The stock Sword with another name."""


class Patient(God):
    """The stock God with another name."""


class Slow(Pantheon):
    """The stock Pantheon with another name."""


@pytest.fixture
def forget_example():
    """Removes the example from ``sys.modules`` after a test."""
    yield
    sys.modules.pop(EXAMPLE.stem, None)


def test_class_names():
    """A name has the module and the qualified name, also for a nested class; ``STOCK`` has those of the stock
    classes. A Sword keeps its name with another network."""

    class Inner(Policy):
        pass

    assert tuple(map(class_name, (Policy, Sword, God, Pantheon))) == STOCK
    assert class_name(Same) == f"{__name__}:Same"
    assert class_name(Inner) == f"{__name__}:test_class_names.<locals>.Inner"
    assert class_name(sword_with(Same)) == STOCK.sword
    assert class_name(sword_with(Same, Calm)) == f"{__name__}:Calm"


SCRIPT = """
from nmmo_gpu.train.class_names import class_name
from nmmo_gpu.train.policy import Policy

class Mine(Policy):
    pass

print(class_name(Mine))
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

    def check(network, needed):
        check_classes({"network": network}, ClassNames(network=needed))

    check(Same, class_name(Same))
    former = types.ModuleType("former")
    with pytest.raises(CheckpointError, match="former:Old"):
        check(Same, "former:Old")
    monkeypatch.setitem(sys.modules, "former", former)
    with pytest.raises(CheckpointError, match="former:Old"):
        check(Same, "former:Old")
    former.Old = Same
    check(Same, "former:Old")
    with pytest.raises(CheckpointError):
        check(Policy, "former:Old")
    with pytest.raises(CheckpointError):
        check(Policy, "this:Is")
    assert "this" not in sys.modules


def test_all_wrong_classes_are_listed():
    """The option has all custom classes that are needed, and only those."""
    needed = ClassNames(network="a:Net", god="b:Host", pantheon=class_name(Slow))
    given = {"network": Policy, "sword": Calm, "god": God, "pantheon": Slow}
    with pytest.raises(CheckpointError) as error:
        check_classes(given, needed)
    message = str(error.value)
    assert (
        f"its network is a:Net, not {STOCK.network}; its sword is {STOCK.sword}, not {__name__}:Calm"
        in message
    )
    assert f"; its god is b:Host, not {STOCK.god}." in message and "its pantheon" not in message
    assert f"give --trinity a:Net b:Host {__name__}:Slow (module:Class or file.py:Class)" in message
    with pytest.raises(CheckpointError, match="command line cannot give classes that a function defines"):
        check_classes({"god": God}, ClassNames(god="a:f.<locals>.Host"))
    check_classes({"pantheon": Slow}, needed)
    with pytest.raises(CheckpointError, match="leave out --trinity; in Python pass no other classes"):
        check_classes({"sword": Calm}, needed)


def test_options_name_files_where_modules_cannot_be_imported(forget_example, monkeypatch, tmp_path):
    """A class in a package has its name, one in a file of its own the file, relative to the folder if the
    file is below it. The option gives the same class again."""
    assert class_option(Policy) == STOCK.network
    found = load_object(f"{EXAMPLE}:Attentive")
    monkeypatch.chdir(EXAMPLES.parent)
    assert class_option(found) == "examples/trinity_network.py:Attentive"
    assert load_object(class_option(found)) is found
    monkeypatch.chdir(tmp_path)
    assert class_option(found) == f"{EXAMPLE.resolve()}:Attentive"


def test_objects_are_found_by_module_and_by_file(forget_example, monkeypatch):
    """The same name gives the same object twice."""
    assert load_object(STOCK.network) is Policy
    for name in (f"{EXAMPLE}:Attentive", "trinity_network:Attentive"):
        monkeypatch.syspath_prepend(EXAMPLE.parent)
        found = load_object(name)
        assert issubclass(found, Policy) and class_name(found) == "trinity_network:Attentive"
        assert load_object(name) is found


def test_a_file_with_the_name_of_an_imported_module(tmp_path):
    """Its classes are those of the file, and the same for all names; the other module stays."""
    file = tmp_path / "json.py"
    file.write_text("class One: pass\nclass Two(One): pass\n")
    before = sys.modules["json"]
    one, two = (load_object(f"{file}:{name}") for name in ("One", "Two"))
    assert issubclass(two, one) and class_name(two) == "json:Two" and sys.modules["json"] is before


@pytest.mark.parametrize(("name", "message"), [
    ("Attentive", "does not name a class"),
    (":Attentive", "does not name a class"),
    ("nmmo_gpu.train.policy:", "does not name a class"),
    ("nmmo_gpu.no_such:Attentive", "module nmmo_gpu.no_such does not exist; add its folder to PYTHONPATH"),
    ("no_such_module.at_all:Attentive", "module no_such_module.at_all does not exist"),
    ("no/such/file.py:Attentive", "file no/such/file.py does not exist"),
    ("nmmo_gpu.train.policy:Attentive", "nmmo_gpu.train.policy has no Attentive"),
    ("nmmo_gpu.train.policy:Output", "neither a Trinity nor a subclass of Sword, God, Pantheon or torch.nn"),
    ("nmmo_gpu.train.output:MASKED", "neither a Trinity nor a subclass of Sword, God, Pantheon or torch.nn"),
])  # fmt: skip
def test_invalid_names_are_refused(name, message):
    """The ConfigError has the name, the fault and how to name a class."""
    with pytest.raises(ConfigError) as error:
        trinity_named([name])
    assert repr(name) in str(error.value) and message in str(error.value)


def test_an_import_error_inside_a_module_is_reported_as_it_is(tmp_path):
    """The error names the module missing inside, and no half-initialized module stays in ``sys.modules``."""
    (tmp_path / "needy.py").write_text("import no_such_module_either\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_either"):
        load_object(f"{tmp_path / 'needy.py'}:Mine")
    assert "needy" not in sys.modules


def test_a_trinity_of_classes():
    """Each class replaces its part, and a network that of the Sword. A class may be given twice, but not two
    for one part."""
    assert trinity_of() == Trinity()
    whole = Trinity(sword=Calm, god=Patient, pantheon=Slow)
    assert trinity_of(Slow, Calm, Patient, Calm) == trinity_of(whole, Patient) == whole
    found = trinity_of(Same, Trinity(god=Patient))
    assert found.god is Patient and found.pantheon is Pantheon
    assert found.sword.network is Same and issubclass(found.sword, Sword)
    both = trinity_of(Calm, Same).sword
    assert both.network is Same and issubclass(both, Calm)
    assert trinity_of(both, Same).sword is both
    assert trinity_of(torch.nn.Linear).sword.network is torch.nn.Linear
    for parts, part in (((Same, torch.nn.Linear), "network"), ((both, torch.nn.Linear), "network"),
                        ((whole, God), "god"), ((Calm, Sword), "sword")):  # fmt: skip
        with pytest.raises(ConfigError, match=f"two classes for the {part}"):
            trinity_of(*parts)
    for other in (3, "Calm", Calm.decide, int):
        with pytest.raises(ConfigError, match="neither a Trinity nor a subclass"):
            trinity_of(other)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns (network, folder) of a run with the example's network, which has more tensors than the stock
    network."""
    network = load_object(f"{EXAMPLE}:Attentive")
    folder = tmp_path_factory.mktemp("attentive")
    train(small(folder, iterations=1), network=network)
    yield network, folder
    sys.modules.pop(EXAMPLE.stem, None)


def test_a_checkpoint_names_its_classes(trained):
    """The file has the names of custom and stock classes."""
    assert checkpoints.load(trained[1], CPU).classes == ClassNames(network="trinity_network:Attentive")
    assert Run(small()).checkpoint().classes == STOCK
    run = Run(small(), trinity=Trinity(sword=Calm, god=Patient, pantheon=Slow))
    names = (STOCK.network, *(f"{__name__}:{name}" for name in ("Calm", "Patient", "Slow")))
    assert run.checkpoint().classes == names


def test_a_network_is_given_once(tmp_path):
    """``network`` may not contradict the Sword's; nothing is written then."""
    for sword in (sword_with(Same), sword_with(Same, Calm)):
        with pytest.raises(ConfigError, match="two classes for the network"):
            train(
                small(tmp_path / "run", iterations=1), trinity=Trinity(sword=sword), network=torch.nn.Linear
            )
    assert not list(tmp_path.iterdir())
    run = train(small(tmp_path / "run", iterations=1), trinity=Trinity(sword=Calm), network=Same)
    assert type(run.sword.policy) is Same and isinstance(run.sword, Calm)


SAID = r"its network is trinity_network:Attentive.*--trinity trinity_network:Attentive.*trinity=.*sword="


def test_resuming_with_other_classes_is_refused(trained):
    """The default network is refused, and so is one with the same tensors as that, and each other class. The
    error says which class is needed and how to give it, and every file of the run keeps its bytes. With its
    own network the run resumes."""
    network, folder = trained
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {folder / checkpoints.FILE, folder / "config.json"} < before.keys()
    for trinity in (None, Trinity(sword=sword_with(Same))):
        with pytest.raises(CheckpointError, match=SAID):
            train(*resume(str(folder), iterations=2), trinity)
    for cls, part in ((Calm, "sword"), (Patient, "god"), (Slow, "pantheon")):
        needed = (
            rf"its {part} is {getattr(STOCK, part)}, not {__name__}:{cls.__name__}\..*--trinity trinity_net"
        )
        with pytest.raises(CheckpointError, match=needed):
            train(*resume(str(folder), iterations=2), trinity_of(network, cls))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    run = train(*resume(str(folder), iterations=2), network=network)
    assert run.iteration == 2 and {"policy.ask", "policy.answer"} <= state_of(run).keys()
    assert {"policy.ask", "policy.answer"} <= checkpoints.load(folder, CPU).tensors.keys()


def test_a_network_with_the_same_tensors_is_another_network():
    """A stock checkpoint is not loaded into a class that computes something else with its tensors."""
    stored = Run(small()).checkpoint()
    with pytest.raises(CheckpointError, match=rf"its network is {STOCK.network}, not {__name__}:Same\."):
        Run(small(), stored, Trinity(sword=sword_with(Same)))


def test_the_stock_sword_keeps_its_class():
    """Only another network needs another class."""
    assert sword_with(Policy) is Sword
    assert sword_with(Same).network is Same and issubclass(sword_with(Same), Sword)
