"""The text encoder: what its output depends on, its gradients, and what it refuses.

That it is PyTorch's transformer is shown in tests/oracle/test_transformers_torch.py.
"""

import numpy as np
import pytest
from parameter_gradients import check_parameters

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.data import PAD
from tinydiff.models import TextEncoder
from tinydiff.models.text_encoder import words_in

TOKENS = np.array([[2, 3, 4, 5, 0], [3, 2, 0, 0, 0], [1, 0, 0, 0, 0]])


def encoder(dtype=np.float64, **settings) -> TextEncoder:
    td.seed(0)
    made = TextEncoder(6, 5, **{"width": 8, "heads": 2, **settings}).astype(dtype)
    for p in made.parameters():
        p.data += 0.3 * randn(p.shape, dtype=dtype)
    return made


def run(model, tokens):
    with td.no_grad():
        return model(np.asarray(tokens)).numpy()


def test_a_vector_for_each_token():
    y = run(encoder(np.float32), TOKENS)
    assert y.shape == (3, 5, 8) and y.dtype == np.float32
    assert np.isfinite(y).all()


def test_it_is_not_masked_every_word_knows_all_others_and_their_order():
    model = encoder()
    y = run(model, [[2, 3, 4, 5, 2]])
    for place in range(5):
        changed = np.array([[2, 3, 4, 5, 2]])
        changed[0, place] = 1
        other = run(model, changed)
        assert (np.abs(other - y).max(axis=-1) > 1e-4).all(), place
    turned = run(model, [[2, 5, 4, 3, 2]])
    assert np.abs(turned - y[:, [0, 3, 2, 1, 4]]).max() > 1e-3


def test_padding_is_seen_by_no_word():
    """However much there is of it, and whatever its vector is."""
    model = encoder()
    y = run(model, TOKENS)
    np.testing.assert_allclose(run(model, TOKENS[:1, :4]), y[:1, :4], atol=1e-12)
    np.testing.assert_allclose(run(model, TOKENS[1:2, :2]), y[1:2, :2], atol=1e-12)
    model.word.weight.data[PAD] *= -2
    np.testing.assert_allclose(run(model, TOKENS)[words_in(TOKENS)[:, 0]], y[TOKENS != PAD])


def test_no_caption_is_a_word_that_is_learned():
    model = encoder()
    tokens = model.no_caption[None]
    assert tokens.tolist() == [[1, 0, 0, 0, 0]]
    model(tokens)[:, :1].sum().backward()
    learned = np.abs(to_numpy(model.word.weight.grad)).max(axis=1) > 0
    assert learned.tolist() == [False, True] + [False] * 4


def test_each_caption_is_encoded_by_itself():
    model, order = encoder(), [2, 0, 1]
    y = run(model, TOKENS)
    np.testing.assert_allclose(run(model, TOKENS[order]), y[order], atol=1e-12)


def test_gradients_of_all_parameters():
    model, weights = encoder(depth=1), Tensor(randn((3, 5, 8), dtype=np.float64))
    # What is added to all scores of a query alike changes no softmax.
    without = ("blocks.0.attention.key.bias",)
    check_parameters(model, lambda: (model(TOKENS) * weights).sum(), without=without)


def test_tokens_on_the_device_are_tokens_too():
    model = encoder()
    np.testing.assert_array_equal(run(model, TOKENS), model(asarray(TOKENS)).numpy())


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        (TOKENS[0], ValueError, r"tokens: expected integers \(N, M\), got shape \(5,\)"),
        (TOKENS * 0, ValueError, "a word in each row, got one of padding only"),
        (np.ones((1, 6), int), ValueError, "6 tokens a caption, expected 5 at most"),
        (TOKENS + 1, ValueError, "expected 0 to 5"),
        (TOKENS - 1, ValueError, "from -1"),
        (TOKENS * 1.0, TypeError, "must hold integers"),
    ],
)
def test_refuses_tokens(tokens, error, message):
    with pytest.raises(error, match=message):
        encoder()(tokens)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocabulary": 0, "length": 4}, "vocabulary is 0"),
        ({"vocabulary": 4, "length": 0}, "length is 0"),
        ({"vocabulary": 4, "length": 4, "depth": 0}, "depth is 0"),
        ({"vocabulary": 4, "length": 4, "width": 6, "heads": 4}, "num_heads"),
    ],
)
def test_refuses_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        TextEncoder(**settings)
