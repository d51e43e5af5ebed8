"""Kernels are given what they can read, or are not launched at all."""

import numpy as np
import pytest

from tinydiff.backend import xp
from tinydiff.kernels import cuda
from tinydiff.kernels.cuda import source


@pytest.mark.parametrize("dtypes", [("e", "e"), ("f", "d"), ("d", "f")], ids=str)
def test_arrays_of_other_dtypes_are_refused(dtypes):
    average, target = (xp.zeros(8, dtype) for dtype in dtypes)
    with pytest.raises(TypeError, match=r"expected an array of float\d\d, got float"):
        cuda.move_towards(average, target, 0.5)


def test_what_comes_to_cupy_is_ascii(monkeypatch):
    """CuPy writes sources to files, in an encoding that it does not choose."""
    seen = []
    monkeypatch.setattr(source.cupy, "RawModule", lambda *, code, options: seen.append(code))
    source._module.__wrapped__(source.text_of("row_norm") + "// ∂", "float")
    assert seen[0].isascii() and "real* x" in seen[0]


def test_numbers_become_those_of_c():
    real = np.dtype(np.float64)
    for parameter, expected in {"int n": "i4", "size n": "i8", "real x": "f8"}.items():
        assert source._converter(parameter)(3, real).dtype == expected
    assert source._converter("const int* unless")(None, real) == 0
