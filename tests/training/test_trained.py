"""What a run has trained comes back from its checkpoint, whatever it is."""

from pathlib import Path

import numpy as np
import pytest

import tinydiff as td
from tinydiff import autoencoding, diffusion, gaugan, metrics, nn, training, unclip, vision
from tinydiff.training import CheckpointError, HalfTrained, Trained


class Line(Trained):
    called, trained_by = "a line", "examples/line.py"

    def __init__(self, settings):
        self.settings, self.model = settings, nn.Linear(settings["size"], 1)


@pytest.fixture
def path(tmp_path):
    td.seed(0)
    line, ema = Line({"size": 3}), {"weights": {"bias": np.float32([7])}}
    state = {"settings": {"size": 3, "steps": 5}, "step": 4, "model": line.model.state_dict()}
    training.save(tmp_path / "half.npz", {**state, "ema": ema})
    training.save(tmp_path / "whole.npz", {**state, "ema": None, "step": 5})
    training.save(tmp_path / "other.npz", {**state, "ema": None, "settings": {"size": 4}})
    return tmp_path


def test_comes_back_with_its_settings_and_averaged_weights(path):
    half, whole = Line.load(path / "half.npz"), Line.load(path / "whole.npz", finished=True)
    assert type(half) is Line and half.settings == {"size": 3, "steps": 5}
    td.seed(0)
    learned = Line({"size": 3}).model
    for line in (half, whole):
        np.testing.assert_array_equal(line.model.weight.numpy(), learned.weight.numpy())
    assert half.model.bias.numpy() == [7] != whole.model.bias.numpy()


def test_says_what_is_wrong(path):
    with pytest.raises(HalfTrained, match="half trained, 4 of 5 steps"):
        Line.load(path / "half.npz", finished=True)
    with pytest.raises(FileNotFoundError, match=r"train with examples/line\.py first"):
        Line.load(path / "none.npz")
    with pytest.raises(FileNotFoundError, match="train with my own first"):
        Line.load(path / "none.npz", example="my own")
    with pytest.raises(CheckpointError, match=r"but not a line's, as examples/line\.py trains it"):
        Line.load(path / "other.npz")


@pytest.mark.parametrize(
    "kind",
    [
        autoencoding.Compressor,
        diffusion.LatentPipeline,
        diffusion.Pipeline,
        diffusion.SuperResolution,
        gaugan.Painter,
        metrics.Recogniser,
        unclip.Matcher,
        unclip.Prior,
        vision.Finder,
        vision.Localiser,
        vision.MaskFinder,
        vision.Segmenter,
    ],
)
def test_each_names_itself_and_its_script(kind, path):
    with pytest.raises(CheckpointError, match=f"not {kind.called}'s, as {kind.trained_by} trains"):
        kind.load(path / "whole.npz")
    assert (Path(__file__).parents[2] / kind.trained_by).is_file()
