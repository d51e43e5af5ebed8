"""Retrieval by brute force, among captions that say different things."""

import math

import numpy as np
import pytest

from tinydiff.data.captions import canonical
from tinydiff.unclip import found_among, is_first
from tinydiff.unclip.retrieval import different

ONE, SAME = "a red circle above a blue square", "a blue square below a red circle"
CAPTIONS = ["a red circle", "a red circle", ONE, "two red hearts", SAME, "a white cross"]
CAPTIONS.append("two red hearts")


@pytest.mark.parametrize("seed", range(5))
def test_retrieval_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    answers = rng.standard_normal((20, 4)) * rng.uniform(0.1, 5, (20, 1))  # length says nothing
    queries = answers + rng.standard_normal((20, 4))
    found = []
    for i, q in enumerate(queries):
        angles = [math.acos(q @ a / math.sqrt((q @ q) * (a @ a))) for a in answers]
        found.append(angles.index(min(angles)) == i)
    assert 0 < sum(found) < 20
    assert is_first(queries, answers).tolist() == found


def test_sets_of_captions_that_say_different_things():
    assert list(different(3, CAPTIONS)) == [[0, 2, 3], [4, 5, 6]]
    sets = list(different(2, CAPTIONS))
    assert sets == [[0, 2], [3, 4], [5, 6]]
    for some in sets:
        assert len({canonical(CAPTIONS[i]) for i in some}) == 2


def test_found_among_so_many():
    """Of one set nothing is asked of the others: what is nearest of all need not be among them."""
    answers = np.eye(7)
    queries = answers.copy()
    queries[2] = answers[4]  # of another set: here, all three are as far from it
    queries[5] = answers[6] + 0.5 * answers[5]
    found = found_among(3, queries, answers, CAPTIONS)
    assert found.tolist() == [True, False, True, True, False, True]
    queries[2] += 0.1 * answers[2]
    assert found_among(3, queries, answers, CAPTIONS).tolist()[1]
    assert len(found_among(2, queries, answers, CAPTIONS)) == 6


def test_refuses():
    with pytest.raises(ValueError, match=r"queries like answers, \(N, d\)"):
        is_first(np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="captions: expected 9 that say different things at least"):
        found_among(9, np.eye(7), np.eye(7), CAPTIONS)
