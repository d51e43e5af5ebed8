"""examples/inside.py: what it draws of networks with ReLU and without, and what it refuses."""

import subprocess
import sys

import numpy as np
import pytest
from example_runs import (
    EXAMPLES,
    call,
    everything_in,
    pixels,
    vgg_of_my_colours,
    with_few_digits,
    write_pictures,
)
from PIL import Image

from tinydiff import data, images, metrics, visualize

FILES = {"filters.png", "activations.png", "patches.png", "attributions.png"}
STEP = 84 + 2  # pixels from one cell to the next


def inside(*options):
    return call(with_few_digits("inside", 60), *options)


def cells(path, rows, columns):
    """The cells of a table of pictures, (rows, columns, 84, 84, 3)."""
    table = pixels(path)[-(rows * STEP + 2) :, -(columns * STEP + 2) :]
    assert table.shape == (rows * STEP + 2, columns * STEP + 2, 3), "captions left no room"
    parts = table[2:, 2:].reshape(rows, STEP, columns, STEP, 3)[:, :84, :, :84]
    return parts.transpose(0, 2, 1, 3, 4)


def test_draws_what_it_promises(networks, here):
    ended = inside(networks["vgg"], "--count", 40)
    assert ended.status == 0, ended.err
    folder = here / "runs" / "inside-vgg-digits"
    assert everything_in(folder) == FILES
    assert all(name in ended.out for name in FILES)

    recogniser = metrics.Recogniser.load(networks["vgg"])
    model = recogniser.model
    some = data.digits("test", count=60).images[np.random.default_rng(0).permutation(60)[:40]]
    seen = metrics.predict(model, some)
    shown = np.array([some[np.flatnonzero(seen == c)[0]] for c in np.unique(seen)])
    table = cells(folder / "attributions.png", len(shown), 9)
    large = shown.repeat(3, axis=1).repeat(3, axis=2)
    assert np.array_equal(table[:, 0], np.broadcast_to(large, (*large.shape[:3], 3)))
    last = len(shown) - 1
    given = model, shown[last:], visualize.logit(int(np.unique(seen)[last]))
    for column, maps in (
        (4, visualize.integrated_gradients(*given)),
        (5, visualize.gradient(*given, rule="guided")),
        (6, visualize.gradient(*given, rule="deconvnet")),
    ):
        expected = visualize.as_pictures(maps, signed=True)
        assert np.array_equal(table[last, column, ::3, ::3], expected[0]), column
    expected = visualize.as_pictures(
        visualize.grad_cam(*given, "stages.1.relu2"), signed=False, over=shown[last:]
    )
    assert np.array_equal(table[last, 7, ::3, ::3], expected[0])

    rows = cells(folder / "activations.png", 4, 10)
    assert (rows[:, 9] == 0).all(), "eight channels, no ninth"
    assert np.array_equal(rows[:, 0], np.stack([table[0, 0]] * 4))
    parts = cells(folder / "patches.png", 8, 12)
    assert np.ptp(parts, axis=(2, 3)).any(axis=-1).mean() > 0.9
    filters = visualize.as_pictures(visualize.filters(model), signed=True, percentile=100)
    assert np.array_equal(
        pixels(folder / "filters.png"), images.grid(visualize.as_cells(filters, 42), 8)
    )


def test_the_same_seed_the_same_pictures(networks, here):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        ended = inside(networks["vgg"], "--count", 6, "--name", name, "--seed", seed)
        assert ended.status == 0, ended.err
    a, b, c = ((here / "runs" / n / "attributions.png").read_bytes() for n in "abc")
    assert a == b != c


def test_a_network_without_relu(networks, here):
    ended = inside(networks["resnet"], "--count", 20, "--layer", "stages.1.conv1", "--unit", 3)
    assert "has none named 'stages.1.conv1'; it has" in ended.error()
    ended = inside(networks["resnet"], "--count", 20)
    assert ended.status == 0, ended.err
    table = pixels(here / "runs" / "inside-resnet-digits" / "attributions.png")
    assert 7 * STEP < table.shape[1] < 9 * STEP


def test_one_channel_of_one_layer_and_a_picture_of_ones_own(networks, here):
    image = write_pictures(here / "mine", 1, 250) / "0.png"
    options = ("--image", image, "--layer", "stages.0.conv2", "--unit", 5, "--count", 20)
    ended = inside(networks["vgg"], *options)
    assert ended.status == 0, ended.err
    folder = here / "runs" / "inside-vgg-digits"
    mine = metrics.Recogniser.load(networks["vgg"]).read(image)
    table = cells(folder / "attributions.png", 1, 9)
    assert np.array_equal(table[0, 0, ::3, ::3, :1], mine)
    assert cells(folder / "patches.png", 1, 12).shape[0] == 1


def test_colour_pictures_in_a_folder(here):
    checkpoint = vgg_of_my_colours(here)
    assert "the model learned from 'mine" in inside(checkpoint).error()
    ended = inside(checkpoint, "--data", "mine")
    assert ended.status == 0, ended.err
    table = pixels(here / "runs" / "inside-vgg-mine" / "attributions.png")
    shown = (len(table) - 2) // STEP
    assert 1 <= shown <= 2
    held_out = data.hold_out(data.image_folder(here / "mine", 16))[1].images
    first = cells(here / "runs" / "inside-vgg-mine" / "attributions.png", shown, 9)[0, 0]
    assert any(np.array_equal(first, cell) for cell in visualize.as_cells(held_out, 84))


REFUSED = {
    "none.npz": "none.npz does not exist: train with examples/classify.py first",
    "text.npz": "text.npz: the file is not a tinydiff checkpoint",
    "RUN --unit 8": "channel 8: layer 'stages.1.conv2' has 0 … 7",
    "RUN --unit -1": "--unit: '-1' is not a whole number from 0 on",
    "RUN --layer stages.7": "VGG has none named 'stages.7'; it has stages, stages.0",
    "RUN --layer head": "layer 'head': its receptive field is not known",
    "RUN --image none.png": "none.png: No such file or directory",
    "RUN --count 0": "--count: '0' is not",
    "RUN --data nothing": "--data is 'nothing', expected digits, mnist",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, networks, here):
    (here / "text.npz").write_text("hello")
    before = everything_in(here)
    error = inside(*command.replace("RUN", str(networks["vgg"])).split()).error()
    assert error.startswith("inside.py: ")
    assert message in error
    assert everything_in(here) == before


def test_a_diffusion_model_is_not_a_classifier(digits_run, here):
    error = inside(digits_run / "checkpoint.npz").error()
    assert "a checkpoint, but not a classifier's" in error


def test_help_names_what_it_writes():
    script = [sys.executable, str(EXAMPLES / "inside.py"), "--help"]
    ended = subprocess.run(script, capture_output=True, text=True)
    assert ended.returncode == 0
    for name in ("runs/NAME/", "inside-RUN", *FILES, "--model vgg"):
        assert name in ended.stdout, name


def test_the_script_itself_refuses(here):
    Image.new("L", (28, 28)).save(here / "x.png")
    script = [sys.executable, str(EXAMPLES / "inside.py"), "none.npz", "--image", "x.png"]
    wrong = subprocess.run(script, capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("inside.py: none.npz does not exist")
    assert wrong.stderr.count("\n") == 1
