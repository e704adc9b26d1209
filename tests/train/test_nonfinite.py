"""NaN and infinite weights stop the training, are described, and never replace a good checkpoint."""

from __future__ import annotations

import json
import math
import shlex

import pytest
import torch
from train.small import CPU, resume_as_stock, small

from nmmo_gpu.errors import NonFiniteError
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import nonfinite
from nmmo_gpu.train.class_names import class_option
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.run import Run, train
from nmmo_gpu.train.trinity import God, Pantheon, Sword, Trinity


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_all_finite(bad):
    """Also numbers whose squares overflow are finite; one bad number anywhere is found."""
    tensors = [torch.full((3, 5), 3e38), torch.zeros(2, 0), torch.tensor(-1e-38)]
    assert nonfinite.all_finite(tensors).item() is True
    for place in (0, 7, 14):
        worse = [tensor.clone() for tensor in tensors]
        worse[0].view(-1)[place] = bad
        assert nonfinite.all_finite(worse).item() is False


@pytest.mark.parametrize("name", ["reward", "value", "log_probability"])
def test_first_bad_tick(name):
    """The first row in which a living agent has a bad number; those of empty slots do not count."""
    rollout = Run(small()).god.collect()
    assert int(nonfinite.first_bad_tick(rollout)) == 8
    rollout.alive.zero_()[3:, 5] = True
    getattr(rollout, name)[:, 6] = math.nan
    assert int(nonfinite.first_bad_tick(rollout)) == 8
    getattr(rollout, name)[4, 5] = math.inf
    assert int(nonfinite.first_bad_tick(rollout)) == 4


def spoiling(iteration, population=1, number=math.nan):
    """Returns a Pantheon whose n-th update spoils one weight of a population."""

    class Spoiling(Pantheon):
        count = 0

        def learn(self, rollout, progress):
            statistics = super().learn(rollout, progress)
            self.count += 1
            if self.count == iteration:
                with torch.no_grad():
                    next(self.sword.policy.parameters())[population].view(-1)[-1] = number
                statistics = statistics | {"value_loss": torch.tensor([1.0, number])}
            return statistics

    return Spoiling


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_training_stops_and_keeps_the_last_good_checkpoint(number, tmp_path):
    """The error and nonfinite.json name iteration, ticks, population, weight and loss."""
    folder = tmp_path / "a run"
    config = small(folder, iterations=6, checkpoint_minutes=0.0)
    with pytest.raises(NonFiniteError) as raised:
        train(config, trinity=Trinity(pantheon=spoiling(3, number=number)))
    custom = class_option(spoiling(3))
    command = f"nmmo-gpu train --resume {shlex.quote(str(folder))} --trinity {shlex.quote(custom)}"
    for part in ("iteration 3 (ticks 18 to 25)", "population 1", "value_loss", "learning_rate", command):
        assert part in str(raised.value)
    assert checkpoints.load(folder, CPU).counters["iteration"] == 2
    report = json.loads((folder / nonfinite.REPORT).read_text())
    assert report["iteration"] == 3 and report["ticks"] == [18, 25] and report["populations"] == [1]
    assert report["first_nonfinite_tick"] is None and report["nonfinite_statistics"] == ["value_loss"]
    assert len(report["weights"]) == 1 and report["checkpoint_iteration"] == 2
    assert report["replay"] == command
    assert train(*resume_as_stock(folder)).iteration == 6


def test_the_step_can_be_repeated(tmp_path):
    """A run that diverges by itself does the same again from its last checkpoint."""
    folder = tmp_path / "run"
    settings = {"iterations": 30, "checkpoint_minutes": 60.0, "learning_rate": 1e30, "epochs": 2}
    reports = []
    with pytest.raises(NonFiniteError, match=r"learning_rate"):
        train(small(folder, **settings))
    reports.append(json.loads((folder / nonfinite.REPORT).read_text()))
    assert reports[0]["checkpoint_iteration"] is None and reports[0]["replay"] is None
    assert not (folder / checkpoints.FILE).exists()
    with pytest.raises(NonFiniteError):
        train(small(folder, **settings))
    reports.append(json.loads((folder / nonfinite.REPORT).read_text()))
    assert reports[0] == reports[1]


def test_a_network_that_gives_nan(tmp_path):
    """The first tick with bad numbers is named."""

    class Bad(Policy):
        calls = 0

        def encode(self, *arguments, **named):
            hidden, entities = super().encode(*arguments, **named)
            type(self).calls += 1
            return hidden * (math.nan if self.calls > 15 else 1.0), entities

    sword = type("BadSword", (Sword,), {"network": Bad})
    config = small(tmp_path / "run", iterations=9, checkpoint_minutes=0.0, slots=32, births=-1)
    with pytest.raises(NonFiniteError, match=r"already at tick (\d+)") as raised:
        train(config, trinity=Trinity(sword=sword))
    report = json.loads((tmp_path / "run" / nonfinite.REPORT).read_text())
    first, last = report["ticks"]
    assert first <= report["first_nonfinite_tick"] <= last
    assert f"at tick {report['first_nonfinite_tick']}" in str(raised.value)
    kept = checkpoints.load(tmp_path / "run", CPU)
    assert kept.counters["iteration"] == report["iteration"] - 1
    assert all(t.isfinite().all() for t in kept.part("policy").values())


@pytest.mark.parametrize("part", ["policy", "optimizer"])
def test_save_refuses_bad_numbers(part, tmp_path):
    """Also without ``train``: the file is unchanged, and the error names the tensor."""
    run = Run(small(tmp_path))
    run.iterate()
    run.save()
    before = (tmp_path / checkpoints.FILE).read_bytes()
    state = run.sword.policy.state_dict() if part == "policy" else run.pantheon.state()
    name, tensor = next((n, t) for n, t in state.items() if t.dim() > 1)
    tensor.view(-1)[-1] = math.nan
    with pytest.raises(NonFiniteError, match=rf"{part}\.{name}.*not saved"):
        run.save()
    assert (tmp_path / checkpoints.FILE).read_bytes() == before


def test_a_report_that_cannot_be_written_is_not_another_error(tmp_path, monkeypatch):
    """The error is still that the weights are not finite."""

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nonfinite, "replace_text", full_disk)
    with pytest.raises(NonFiniteError, match=r"could not be written \(No space left"):
        train(small(tmp_path / "run", iterations=2), trinity=Trinity(pantheon=spoiling(1)))


def test_the_command_line_says_so_without_a_traceback(tmp_path, capsys, monkeypatch):
    """Status 2 and the message."""
    from nmmo_gpu.cli.main import run

    monkeypatch.setattr(God, "collect", lambda god: (_ for _ in ()).throw(NonFiniteError("bad weights")))
    options = "--realms 2 --slots 16 --height 40 --width 40 --minibatches 2 --horizon 8 --device cpu"
    assert run(["train", "chaos", *options.split(), "--run", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == "nmmo-gpu: bad weights\n"
