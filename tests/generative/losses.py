"""Shared by the tests of the models: pictures, and a loss held to finite differences."""

import numpy as np

import tinydiff as td
from tinydiff.backend import asarray, to_numpy


def bytes_in(shape, count, seed=0):
    """Pictures (count, *shape) of 256 levels in [−1, 1], float64"""
    levels = np.random.default_rng(seed).integers(256, size=(count, *shape))
    return levels / 127.5 - 1


def assert_gradient(parameters, loss, *, step=1e-5, rtol=1e-5):
    """loss() falls along a random direction of the parameters as its gradient says.

    It draws the same random numbers each time.  Called in float64.
    """
    parameters = list(parameters)

    def value():
        td.seed(1)
        return loss()

    for parameter in parameters:
        parameter.grad = None
    value().backward()
    rng = np.random.default_rng(2)
    directions = [asarray(rng.standard_normal(p.shape), np.float64) for p in parameters]
    expected = sum(
        float(to_numpy((p.grad * d).sum())) for p, d in zip(parameters, directions, strict=True)
    )
    ends = []
    for move in (step, -2 * step):
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.data = parameter.data + move * direction
        ends.append(value().item())
    found = (ends[0] - ends[1]) / (2 * step)
    assert abs(expected) > 1e-6, "nothing is tested"
    np.testing.assert_allclose(found, expected, rtol=rtol)
