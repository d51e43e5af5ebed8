"""Sentences as numbers: each word of a fixed vocabulary has one, and short sentences are padded.

    "a red circle above a blue square"  →  [2, 8, 4, 3, 2, 5, 9, 0, 0 …]

Two numbers are no words: PAD, 0, where a sentence has ended, and NO_CAPTION, 1, which alone stands
for having no sentence at all.  The words follow in their order, from 2 on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tinydiff.backend import to_numpy

PAD, NO_CAPTION = 0, 1
_SPECIAL = 2  # numbers that are no words
_WORD = re.compile(r"\w+|[^\w\s]")  # a comma is a word, too


@dataclass(frozen=True)
class Tokenizer:
    """From captions to tokens (N, length) and back.

    words   the vocabulary, in lower case
    length  of the longest caption, in words; all others are padded to it

    Raises TypeError or ValueError for words that are none, or are there twice, and a length < 1.
    """

    words: tuple[str, ...]
    length: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        for word in self.words:
            if not isinstance(word, str):
                raise TypeError(f"words: expected texts, got {word!r}")
            if split_words(word) != [word]:
                raise ValueError(f"words: {word!r} is not one word in lower case")
        if len(set(self.words)) != len(self.words) or not self.words:
            raise ValueError(f"words: expected different words, at least one, got {self.words}")
        if self.length < 1:
            raise ValueError(f"length must be at least 1, got {self.length}")

    @property
    def size(self) -> int:
        """How many different tokens there are."""
        return _SPECIAL + len(self.words)

    def encode(self, captions: Sequence[str]) -> np.ndarray:
        """int64 (N, length): the words of each caption, then PAD.

        Capitals and a full stop at the end are forgiven.  Raises TypeError for a single text,
        ValueError for no captions, or one without words, of too many, or of words that are not in
        the vocabulary, of which those that look like it are named.
        """
        if isinstance(captions, str) or not all(isinstance(text, str) for text in captions):
            raise TypeError(f"captions: expected a sequence of texts, got {captions!r}")
        if not len(captions):
            raise ValueError("captions: expected at least one, got none")
        tokens = np.full((len(captions), self.length), PAD)
        for row, caption in zip(tokens, captions, strict=True):
            words = split_words(caption)
            if not words:
                raise ValueError(f"captions: {caption!r} has no words")
            if len(words) > self.length:
                raise ValueError(
                    f"captions: {caption!r} has {len(words)} words, expected {self.length} or fewer"
                )
            row[: len(words)] = [self._number(word, caption) for word in words]
        return tokens

    def decode(self, tokens) -> list[str]:
        """The captions of tokens (N, length); "" where there is none.

        Raises ValueError for tokens that are none.
        """
        tokens = to_numpy(tokens)
        if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
            raise ValueError(f"tokens: expected integers (N, M), got {tokens.dtype} {tokens.shape}")
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.size:
            raise ValueError(
                f"tokens: expected 0 … {self.size - 1}, got {tokens.min()} … {tokens.max()}"
            )
        said = (row[row >= _SPECIAL] - _SPECIAL for row in tokens)
        return [" ".join(self.words[i] for i in row).replace(" ,", ",") for row in said]

    def _number(self, word: str, caption: str) -> int:
        if word in self.words:
            return _SPECIAL + self.words.index(word)
        near = difflib.get_close_matches(word, self.words)
        hint = f"near it: {', '.join(near)}" if near else f"known: {' '.join(self.words)}"
        raise ValueError(f"captions: {word!r} in {caption!r} is not a known word; {hint}")


def split_words(caption: str) -> list[str]:
    """The words of a sentence in lower case, a comma being one; a full stop at the end is none."""
    return _WORD.findall(caption.lower().strip().removesuffix("."))


def words_of(captions: Iterable[str]) -> list[str]:
    """All words of these sentences, by alphabet: a vocabulary for a `Tokenizer`."""
    return sorted({word for caption in captions for word in split_words(caption)})
