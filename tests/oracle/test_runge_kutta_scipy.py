"""Dormand–Prince against scipy's RK45: step for step the same, and not one evaluation more."""

import numpy as np
import pytest

from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.diffusion.runge_kutta import dormand_prince

integrate = pytest.importorskip("scipy.integrate")
pytestmark = pytest.mark.oracle

PROBLEMS = {
    "swing": (lambda t, y: np.array([y[1], -((1 + t) ** 2) * y[0]]), [1.0, 0.0]),
    "stiff": (lambda t, y: np.array([-80 * (y[0] - np.cos(t))]), [3.0]),
    "kink": (lambda t, y: np.array([abs(t - 2.1) + 30 * (t > 2.1)]), [0.0]),
    "orbit": (
        lambda t, y: np.array([y[2], y[3], *(-y[:2] / np.hypot(*y[:2]) ** 3)]),
        [1, 0, 0, 0.7],
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize(("start", "end"), [(0.0, 5.0), (5.0, 4.0)])
@pytest.mark.parametrize(("rtol", "atol"), [(1e-3, 1e-6), (1e-8, 1e-9)])
def test_steps(name, start, end, rtol, atol):
    f, y = PROBLEMS[name]
    theirs = integrate.RK45(f, start, np.array(y, float), end, rtol=rtol, atol=atol)
    asked = [0]

    def counted(t, y):
        asked[0] += 1
        return asarray(f(t, to_numpy(y)))

    y = xp.asarray(y, dtype=np.float64)
    for t, ours in dormand_prince(counted, y, start, end, rtol=rtol, atol=atol):
        assert theirs.status == "running"
        theirs.step()
        assert t == pytest.approx(theirs.t, rel=1e-6)
        np.testing.assert_allclose(to_numpy(ours), theirs.y, rtol=1e-6, atol=1e-6)
    assert theirs.status == "finished"
    assert asked[0] == theirs.nfev
