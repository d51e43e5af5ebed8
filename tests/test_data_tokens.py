"""Sentences as numbers and back, and sentences that are refused."""

import numpy as np
import pytest

from tinydiff.data import PAD, Tokenizer, scattered_digits, shapes
from tinydiff.data.captions import vocabulary
from tinydiff.data.colours import COLOURS
from tinydiff.data.outlines import OUTLINES
from tinydiff.data.tokens import NO_CAPTION, words_of

WORDS = ("a", "above", "and", "blue", "circle", "red", "square", "two", "circles", ",")
TOKENIZER = Tokenizer(WORDS, 8)


def test_a_number_for_each_word_then_padding():
    captions = ["a red circle above a blue square", "two circles", "a red circle, a square"]
    tokens = TOKENIZER.encode(captions)
    assert tokens.shape == (3, 8) and tokens.dtype == np.int64
    assert tokens[0].tolist() == [2, 7, 6, 3, 2, 5, 8, 0]
    assert tokens[1].tolist() == [9, 10] + [PAD] * 6
    assert tokens[2].tolist() == [2, 7, 6, 11, 2, 8, PAD, PAD]
    assert TOKENIZER.size == 12
    assert TOKENIZER.decode(tokens) == captions


def test_the_words_of_sentences():
    said = ["Two circles.", "a red circle, a circle"]
    assert words_of(said) == [",", "a", "circle", "circles", "red", "two"]
    tokenizer = Tokenizer(words_of(said), 6)
    assert tokenizer.decode(tokenizer.encode(said)) == ["two circles", "a red circle, a circle"]


def test_capitals_spaces_and_a_full_stop_are_forgiven():
    plain = TOKENIZER.encode(["a red circle, a square"])
    assert np.array_equal(TOKENIZER.encode(["  A red  circle , a SQUARE. "]), plain)


def test_no_caption_says_nothing():
    assert TOKENIZER.decode(np.array([[NO_CAPTION] + [PAD] * 7])) == [""]


@pytest.mark.parametrize("scenes", [shapes, scattered_digits], ids=["shapes", "digits"])
def test_the_vocabulary_of_the_grammar_is_all_there_is(scenes):
    """No caption has an unknown word, few are never said, and each sentence comes back."""
    said = scenes(count=400, side=48, objects=(1, 8 if scenes is shapes else 4)).captions
    words = vocabulary(OUTLINES, COLOURS) if scenes is shapes else vocabulary(map(str, range(10)))
    tokenizer = Tokenizer(words, 40)
    tokens = tokenizer.encode(said)
    assert tokenizer.decode(tokens) == list(said)
    if scenes is shapes:
        said = {words[t - 2] for t in np.unique(tokens) if t > 1}
        assert set(words) - said <= {"five", "six", "seven", "eight"}


def test_unknown_words_are_named_and_what_is_near_them():
    with pytest.raises(ValueError, match=r"'sqare' in 'a red sqare' is not a known.*near it: squ"):
        TOKENIZER.encode(["a red circle", "a red sqare"])
    with pytest.raises(ValueError, match="'zebra' in 'a zebra' is not a known word; known: a abo"):
        TOKENIZER.encode(["a zebra"])
    with pytest.raises(ValueError, match="';' in"):
        TOKENIZER.encode(["a circle; a square"])


@pytest.mark.parametrize(
    ("captions", "error", "message"),
    [
        ([""], ValueError, "captions: '' has no words"),
        (["a circle", " . "], ValueError, "captions: ' . ' has no words"),
        ([], ValueError, "at least one, got none"),
        (["a " * 9], ValueError, "has 9 words, expected 8 or fewer"),
        ("a circle", TypeError, "a sequence of texts, got 'a circle'"),
        ([3], TypeError, "a sequence of texts"),
    ],
)
def test_refuses_captions(captions, error, message):
    with pytest.raises(error, match=message):
        TOKENIZER.encode(captions)


@pytest.mark.parametrize(
    ("words", "length", "error", "message"),
    [
        (("a", "a"), 3, ValueError, "different words"),
        ((), 3, ValueError, "at least one"),
        (("left of",), 3, ValueError, "'left of' is not one word"),
        (("Red",), 3, ValueError, "'Red' is not one word in lower case"),
        ((3,), 3, TypeError, "expected texts, got 3"),
        (("a",), 0, ValueError, "length must be at least 1, got 0"),
    ],
)
def test_refuses_vocabularies(words, length, error, message):
    with pytest.raises(error, match=message):
        Tokenizer(words, length)


@pytest.mark.parametrize("tokens", [np.zeros(8, int), np.zeros((1, 8)), [[12]], [[-1]]])
def test_refuses_tokens(tokens):
    with pytest.raises(ValueError, match="tokens: expected"):
        TOKENIZER.decode(np.asarray(tokens))
