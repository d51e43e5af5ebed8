"""Layouts: which axis goes where, and back again.  The oracle tests compare with PyTorch itself."""

import numpy as np
import pytest

from tinydiff import interop

SHAPES = {  # ours, PyTorch's
    "image": ((2, 3, 4, 5), (2, 5, 3, 4)),
    "conv": ((2, 3, 4, 5), (5, 4, 2, 3)),
    "conv_transpose": ((2, 3, 4, 5), (4, 5, 2, 3)),
    "linear": ((4, 5), (5, 4)),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_axes_and_back(kind):
    ours, theirs = SHAPES[kind]
    array = np.arange(np.prod(ours)).reshape(ours)
    moved = interop.to_torch(array, kind)
    assert moved.shape == theirs
    assert moved.flags.c_contiguous and moved.flags.writeable
    back = interop.from_torch(moved, kind)
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("kind", SHAPES)
def test_each_axis_keeps_its_meaning(kind):
    ours, theirs = SHAPES[kind]
    for axis, size in enumerate(ours):
        # Values that count along one axis must count along the axis of the same size.
        shape = [size if i == axis else 1 for i in range(len(ours))]
        array = np.broadcast_to(np.arange(size).reshape(shape), ours)
        moved = interop.to_torch(array, kind)
        where = theirs.index(size)
        counted = np.moveaxis(moved, where, -1)
        np.testing.assert_array_equal(counted, np.broadcast_to(np.arange(size), counted.shape))


def test_the_result_is_a_copy():
    array = np.ones((3, 3))
    interop.to_torch(array, "linear")[:] = 0
    interop.from_torch(array, "linear")[:] = 0
    assert array.all()


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"'bias'.*image, conv"):
        interop.to_torch(np.ones(3), "bias")
    with pytest.raises(ValueError, match=r"\(3, 3\).*2 axes.*'conv' has 4"):
        interop.from_torch(np.ones((3, 3)), "conv")
