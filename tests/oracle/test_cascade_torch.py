"""How a cascade's pictures change their size, against PyTorch."""

import numpy as np
import pytest

from tinydiff import interop
from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion.cascade import enlarged, shrunk

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle


@pytest.mark.parametrize(("factor", "size"), [(2, (16, 16)), (4, (8, 12)), (3, (3, 6))])
def test_shrunk_and_enlarged(factor, size):
    x = np.random.default_rng(0).standard_normal((2, *size, 3))
    theirs = torch.tensor(interop.to_torch(x, "image"))
    small = torch.nn.functional.interpolate(theirs, scale_factor=1 / factor, mode="area")
    large = torch.nn.functional.interpolate(theirs, scale_factor=factor, mode="bilinear")
    for ours, expected in ((shrunk, small), (enlarged, large)):
        expected = interop.from_torch(expected.numpy(), "image")
        np.testing.assert_allclose(to_numpy(ours(asarray(x), factor)), expected, atol=1e-12)
