"""What the three parts learn from: which picture goes with which caption, and which vector."""

import numpy as np
import pytest
from small_parts import SIDE, D, decoder, matcher, prior

from tinydiff import data
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float
from tinydiff.models import contrastive_loss
from tinydiff.unclip import Numbered, clip_learning, decoder_learning, prior_learning

SAID = ("a red circle", "a red circle above a blue square", "a blue square below a red circle")
TOLD = (*SAID, "a red circle", "a blue square")  # the caption of each picture
MEANS = np.array([0, 1, 1, 0, 2])


def pictures(n=5):
    return np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3)).astype(np.uint8)


def batches(size=5):
    classes, labels = np.unique(TOLD, return_inverse=True)
    dataset = data.Dataset("some", pictures(), labels, tuple(classes.tolist()))
    return data.Batches(dataset, size, seed=1)


def test_captions_that_say_the_same_are_no_wrong_answers_for_each_other():
    made = matcher()
    loss, given = clip_learning(made, batches())
    x, labels = given[0]
    numbers, *_ = given.picks(0)
    tokens = made.tokenizer.encode([TOLD[i] for i in numbers])
    logits = made.model(asarray(x), tokens)
    assert loss(asarray(x), labels).item() == contrastive_loss(logits, MEANS[numbers]).item()
    assert loss(asarray(x), labels).item() < contrastive_loss(logits).item()


class Kept:
    """In place of a loss: keeps what it is given."""

    def __call__(self, *given, **settings):
        self.given, self.settings = given, settings


def test_the_prior_learns_from_the_vectors_of_a_picture_and_its_caption():
    clip, made = matcher(), prior()
    made.training_loss = Kept()
    loss, given = prior_learning(made, batches(2), clip)
    for step in range(4):
        loss(*given[step])
        z, captions = made.training_loss.given
        numbers, *_ = given.batches.picks(step)
        np.testing.assert_allclose(z, clip.of_images(pictures()[numbers]), atol=1e-5)
        wanted = clip.of_captions([TOLD[i] for i in numbers])
        np.testing.assert_allclose(captions, wanted, atol=1e-5)


@pytest.mark.parametrize("weighting", ["simple", "min_snr"])
def test_the_decoder_learns_from_a_picture_and_its_vector(weighting):
    clip, made = matcher(), decoder()
    if weighting != "simple":
        made.settings["weighting"] = weighting
    made.training_loss = Kept()
    loss, given = decoder_learning(made, batches(2), clip)
    for step in range(4):
        loss(*given[step])
        (x,), told = made.training_loss.given, made.training_loss.settings
        assert told.keys() == {"cond", "weighting"} and told["weighting"] == weighting
        np.testing.assert_array_equal(x, given[step][0])
        np.testing.assert_allclose(told["cond"], clip.of_images(to_numpy(x)), atol=1e-5)


def test_numbers_tell_which_pictures_came():
    dataset = data.Dataset("some", pictures(6))
    batches = Numbered(data.Batches(dataset, 4, seed=1))
    assert len(batches) == 1
    seen = set()
    for step in range(3):
        x, numbers = batches[step]
        np.testing.assert_array_equal(x, to_float(dataset.images[numbers]))
        assert numbers.dtype.kind == "i" and len(set(numbers)) == 4
        seen |= {*numbers.tolist()}
    assert seen == set(range(6))
    values = np.arange(12.0).reshape(6, 2)
    z, again = Numbered(batches.batches, values)[2]
    np.testing.assert_array_equal(again, numbers)
    np.testing.assert_array_equal(z, values[numbers])


def test_refuses_batches_that_do_not_stay_as_they_are():
    dataset = data.Dataset("some", pictures(6))
    with pytest.raises(ValueError, match="batches: expected no flip and no shift"):
        Numbered(data.Batches(dataset, 4, flip=True))
    with pytest.raises(ValueError, match="values: expected 6, one a picture, got 2"):
        Numbered(data.Batches(dataset, 4), np.zeros((2, D)))
