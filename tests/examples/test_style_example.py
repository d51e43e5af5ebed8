"""examples/style.py: what it paints with grey and colour networks, and what it refuses."""

import numpy as np
import pytest
from example_runs import (
    call,
    everything_in,
    load,
    pixels,
    vgg_of_my_colours,
    with_few_digits,
)

from tinydiff import data, metrics, visualize

FILES = {"inversion.png", "textures.png", "style.png"}
SIDE, STEP = 32, 168 + 2


def style(*options):
    module = with_few_digits("style", 30)
    module.SIDE = module.TEXTURE = SIDE
    return call(module, *options, "--steps", 2)


def cells(path, rows, columns):
    """The cells of a table of pictures, (rows, columns, 168, 168, 3)."""
    table = pixels(path)[-(rows * STEP + 2) :, -(columns * STEP + 2) :]
    parts = table[2:, 2:].reshape(rows, STEP, columns, STEP, 3)[:, :168, :, :168]
    return parts.transpose(0, 2, 1, 3, 4)


@pytest.mark.parametrize("model", ["vgg", "resnet"])
def test_paints_what_it_promises(model, networks, here):
    ended = style(networks[model])
    assert ended.status == 0, ended.err
    folder = here / "runs" / f"style-{model}-digits"
    assert everything_in(folder) == FILES
    assert all(name in ended.out for name in FILES)
    shown = visualize.as_cells(data.digits("test", count=30).images[:1], 168)[0]
    assert np.array_equal(pixels(folder / "inversion.png")[2:170, 2:170], shown)
    for rows, name in ((4, "textures.png"), (3, "style.png")):
        parts = cells(folder / name, rows, 3)
        assert np.ptp(parts, axis=(2, 3)).all(), name
        assert all((row[0] != other).any() for row in parts for other in row[1:]), name
        assert (parts[..., 0] == parts[..., 2]).all(), "grey"
    scenes = data.shapes("test", 3, side=SIDE, objects=(3, 4)).images.mean(axis=3, keepdims=True)
    expected = visualize.as_cells(scenes.astype(np.uint8), 168)
    assert np.array_equal(cells(folder / "style.png", 3, 5)[:, 0], expected)


def test_textures_are_those_of_the_data():
    module = load("style")
    stripes = module.drawn(*module.TEXTURES["stripes"]).astype(int)
    assert stripes.shape == (module.TEXTURE, module.TEXTURE, 3)
    colours = np.unique(stripes.reshape(-1, 3), axis=0)
    assert (abs(colours - [242, 218, 45]).sum(axis=1) < 3).any(), "yellow"
    assert (abs(colours - [24, 24, 24]).sum(axis=1) < 3).any(), "black"
    along = stripes[4:, :-3] - stripes[:-4, 3:]  # where 0.8·column + 0.6·row stays
    assert abs(along).max() <= 1 < np.ptp(stripes)


def test_pictures_of_ones_own_in_colour(here):
    checkpoint = vgg_of_my_colours(here)
    assert "the model learned from 'mine" in style(checkpoint).error()
    images = [here / "mine" / f"class-{n}" / "0.png" for n in (250, 120)]
    ended = style(checkpoint, "--image", images[0], "--style", images[1])
    assert ended.status == 0, ended.err
    folder = here / "runs" / "style-vgg-mine"
    recogniser = metrics.Recogniser.load(checkpoint)
    content = visualize.as_cells(recogniser.read(images[0], SIDE)[None], 168)[0]
    assert np.array_equal(cells(folder / "style.png", 1, 2)[0, 0], content)
    texture = visualize.as_cells(recogniser.read(images[1], SIDE)[None], 168)[0]
    assert np.array_equal(cells(folder / "textures.png", 1, 3)[0, 0], texture)


@pytest.mark.slow
def test_the_same_seed_the_same_pictures(networks, here):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert style(networks["vgg"], "--name", name, "--seed", seed).status == 0
    for file in FILES:
        a, b, c = ((here / "runs" / n / file).read_bytes() for n in "abc")
        assert a == b != c, file


REFUSED = {
    "none.npz": "none.npz does not exist: train with examples/classify.py first",
    "RUN --image none.png": "none.png: No such file or directory",
    "RUN --style none.png": "none.png: No such file or directory",
    "RUN --data nothing": "--data is 'nothing', expected digits, mnist",
    "RUN --weight 0": "--weight: '0' is not a finite number above 0",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, networks, here):
    before = everything_in(here)
    error = style(*command.replace("RUN", str(networks["vgg"])).split()).error()
    assert error.startswith("style.py: ") and message in error
    assert everything_in(here) == before
