"""What goes into a line comes out at its other end."""

import numpy as np
import pytest

from tinydiff.team import line
from tinydiff.team.line import Line, shared_views


@pytest.mark.parametrize("slab", [1 << 26, 3000, 64])
def test_words_and_arrays(monkeypatch, rng, slab):
    monkeypatch.setattr(line, "SLAB", slab)
    ends = Line()
    arrays = [
        rng.standard_normal((10, 50), dtype=np.float32),
        np.arange(5),
        np.zeros((0, 3)),
        rng.standard_normal((8, 9))[::2, 1:],
        np.array(2.5),
        rng.random(3) > 0.5,
    ]
    for one, other in ((ends.first, ends.second), (ends.second, ends.first)):
        one.send({"a": [1, None, "é"], "b": 2**100}, arrays)
        words, received = other.receive()
        assert words == {"a": [1, None, "é"], "b": 2**100}
        for sent, got in zip(arrays, received, strict=True):
            assert sent.dtype == got.dtype and sent.shape == got.shape and (sent == got).all()


def test_hanging_up():
    ends = Line()
    ends.first.close()
    with pytest.raises(EOFError):
        ends.second.receive()
    with pytest.raises(OSError):
        ends.second.send({})


def test_views_side_by_side():
    views = shared_views([np.empty((3, 5), np.float32), np.empty(0), np.empty((), np.float64)])
    assert [v.shape for v in views] == [(3, 5), (0,), ()]
    for i, view in enumerate(views):
        view[...] = i + 1
    assert all((view == i + 1).all() for i, view in enumerate(views))
