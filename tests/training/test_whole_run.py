"""A run to its end in one call."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import nn, ops, training
from tinydiff.data import Batches, Dataset
from tinydiff.training import Trained, TrainingDiverged

SETTINGS = {"steps": 4, "lr": 0.1, "batch": 5}


class Net(Trained):
    called, trained_by = "a net", "examples/net.py"

    def __init__(self, settings):
        self.settings = settings
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


def net_loss_and_batches():
    td.seed(0)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 2, 2, 1), dtype=np.uint8)
    data = Dataset("noise", images, rng.integers(0, 2, 20), ("a", "b"))
    net = Net(SETTINGS)
    return (
        net,
        lambda x, y: ops.cross_entropy(net.model(td.Tensor(x)), y),
        Batches(data, 5, seed=1),
    )


@pytest.mark.parametrize("recipe", [{}, {"averaged": 20, "clip": None}])
def test_it_is_the_usual_recipe_in_a_run(recipe, tmp_path):
    pytest.importorskip("matplotlib", reason="its curve needs the extra 'plots'")
    net, loss, batches = net_loss_and_batches()
    took = training.complete(net, loss, batches, tmp_path, title="a loss", **recipe)
    assert took == training.minutes(tmp_path, 5) > 0
    assert (tmp_path / "loss.png").exists()
    again, loss, batches = net_loss_and_batches()
    usual = {"averaged": 5, "clip": 1.0, **recipe}
    trainer = training.one_cycle_trainer(again.model, loss, batches, lr=0.1, steps=4, **usual)
    *_, last = trainer.run(until=4)
    assert training.read_log(tmp_path / "log.jsonl")[-1]["loss"] == pytest.approx(last.loss)
    state = training.load(tmp_path / "checkpoint.npz")
    assert state["settings"] == SETTINGS and state["step"] == 4
    for name, weights in trainer.state_dict()["ema"]["weights"].items():
        np.testing.assert_array_equal(state["ema"]["weights"][name], weights)
    for name, weights in Net.load(tmp_path / "checkpoint.npz").model.state_dict().items():
        np.testing.assert_array_equal(weights, state["ema"]["weights"][name])


class Beside:
    """What has a state beside the model"""

    def state_dict(self):
        return {"told": 7}

    def load_state_dict(self, state):
        self.told = state["told"]


def test_what_learns_beside_the_model_is_kept_and_without_a_title_there_is_no_curve(tmp_path):
    net, loss, batches = net_loss_and_batches()
    training.complete(net, loss, batches, tmp_path, title=None, states={"beside": Beside()})
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.npz", "log.jsonl"}
    assert training.load(tmp_path / "checkpoint.npz")["states"] == {"beside": {"told": 7}}


def test_what_goes_wrong_is_told_as_by_train(tmp_path):
    pytest.importorskip("matplotlib", reason="its curve needs the extra 'plots'")
    net, loss, batches = net_loss_and_batches()
    calls = []

    def breaks(x, y):
        calls.append(1)
        return loss(x, y) * (np.nan if len(calls) == 3 else 1)

    with pytest.raises(TrainingDiverged):
        training.complete(net, breaks, batches, tmp_path, title="")
    assert not (tmp_path / "loss.png").exists()
    net.settings = {**SETTINGS, "steps": 5}
    training.complete(net, loss, batches, tmp_path, title="")
    with pytest.raises(ValueError, match="holds a run with other settings: steps is 4, was 5"):
        training.complete(*net_loss_and_batches(), tmp_path, title="")
