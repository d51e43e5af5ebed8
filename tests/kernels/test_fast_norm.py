"""How fast group norm cuts images into pieces."""

import time

import pytest

from tinydiff.kernels.fast_norm import _divisor


def test_the_nearest_divisor():
    for number in range(1, 200):
        for wanted in (0.01, 1, 2.5, 6**0.5, 11, 1e3):
            near = {k: max(k / wanted, wanted / k) for k in range(1, number + 1) if number % k == 0}
            assert _divisor(number, wanted) == min(near, key=near.get)


@pytest.mark.parametrize("number, nearest", [(10**9, 31_250), (10**9 + 7, 1)])
def test_the_divisors_of_a_large_number_are_found_at_once(number, nearest):
    began = time.perf_counter()
    assert _divisor(number, 3e4) == nearest
    assert time.perf_counter() - began < 2
