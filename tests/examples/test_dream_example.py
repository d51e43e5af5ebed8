"""examples/dream.py: what it draws of grey and colour networks, and what it refuses."""

import numpy as np
import pytest
from example_runs import (
    call,
    everything_in,
    pixels,
    vgg_of_my_colours,
    with_few_digits,
    write_pictures,
)
from PIL import Image

from tinydiff import metrics

FILES = {"classes.png", "classes.gif", "regularisers.png", "channels.png", "dream.png"}
STEP = 84 + 2


def dream(*options):
    module = with_few_digits("dream", 30)
    module.DREAM = 32
    return call(module, *options, "--steps", 2)


@pytest.mark.parametrize("model", ["vgg", "resnet"])
def test_draws_what_it_promises(model, networks, here):
    ended = dream(networks[model])
    assert ended.status == 0, ended.err
    folder = here / "runs" / f"dream-{model}-digits"
    assert everything_in(folder) == FILES
    assert all(name in ended.out for name in FILES)
    with Image.open(folder / "classes.gif") as film:
        assert film.n_frames == 1
    table = pixels(folder / "regularisers.png")[-(9 * STEP + 2) :, -(10 * STEP + 2) :]
    parts = table[2:, 2:].reshape(9, STEP, 10, STEP, 3)[:, :84, :, :84].transpose(0, 2, 1, 3, 4)
    assert np.ptp(parts, axis=(2, 3)).all()
    assert all((parts[i] != parts[0]).any() for i in range(1, 9))


@pytest.mark.slow
def test_the_same_seed_the_same_pictures(networks, here):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert dream(networks["vgg"], "--name", name, "--seed", seed).status == 0
    for file in FILES:
        a, b, c = ((here / "runs" / n / file).read_bytes() for n in "abc")
        assert a == b != c, file


def test_a_picture_of_ones_own(networks, here):
    image = write_pictures(here / "mine", 1, 250) / "0.png"
    assert dream(networks["vgg"], "--image", image).status == 0
    folder = here / "runs" / "dream-vgg-digits"
    mine = metrics.Recogniser.load(networks["vgg"]).read(image, 32)
    large = mine.repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(pixels(folder / "dream.png")[4:68, 4:68, :1], large)


def test_colour_pictures_in_a_folder(here):
    checkpoint = vgg_of_my_colours(here)
    assert "the model learned from 'mine" in dream(checkpoint).error()
    ended = dream(checkpoint, "--data", "mine")
    assert ended.status == 0, ended.err
    assert everything_in(here / "runs" / "dream-vgg-mine") == FILES


REFUSED = {
    "none.npz": "none.npz does not exist: train with examples/classify.py first",
    "RUN --image none.png": "none.png: No such file or directory",
    "RUN --data nothing": "--data is 'nothing', expected digits, mnist",
    "RUN --seed -1": "--seed: '-1' is not a whole number from 0 on",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, networks, here):
    before = everything_in(here)
    error = dream(*command.replace("RUN", str(networks["vgg"])).split()).error()
    assert error.startswith("dream.py: ") and message in error
    assert everything_in(here) == before
