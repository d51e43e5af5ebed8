"""Rescaled guidance beside diffusers' rescale_noise_cfg."""

import numpy as np
import pytest

from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion.guidance import rescaled

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("diffusers.guiders.guider_utils")
pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.7, 1.0])
def test_rescaling_is_that_of_diffusers(phi):
    x0, wanted = np.random.default_rng(0).standard_normal((2, 3, 5, 4, 2)) * 2
    expected = theirs.rescale_noise_cfg(torch.tensor(x0), torch.tensor(wanted), phi).numpy()
    got = to_numpy(rescaled(asarray(x0), asarray(wanted), phi))
    np.testing.assert_allclose(got, expected, rtol=1e-10)
