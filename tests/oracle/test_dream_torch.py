"""What made pictures rest on, as PyTorch computes it: waves, penalties, Gram matrices, steps."""

import numpy as np
import pytest
from visualize.small_nets import pictures

from tinydiff import Tensor, nn
from tinydiff.backend import asarray, to_numpy
from tinydiff.interop import from_torch, to_torch
from tinydiff.tensor import grad
from tinydiff.visualize import ascend, fourier, gram, penalised, total_variation
from tinydiff.visualize.dream import energy

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
pytestmark = pytest.mark.oracle


def test_the_direction_of_waves_is_that_of_a_spectrum(rng):
    """FFT, times s², and back: of an odd picture, whose real spectrum has s at all frequencies."""
    g = rng.standard_normal((2, 9, 7, 3))
    theirs = torch.tensor(to_torch(g, "image"))
    down, right = torch.fft.fftfreq(9), torch.fft.fftfreq(7)
    frequency = torch.sqrt(down[:, None].double() ** 2 + right.double() ** 2)
    scale = 1 / torch.clamp(frequency, min=1 / 9)
    theirs = torch.fft.ifft2(torch.fft.fft2(theirs) * scale**2).real
    np.testing.assert_allclose(
        to_numpy(fourier(1.0)(asarray(g))),
        from_torch(theirs.numpy(), "image"),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("beta", [1.0, 2.0, 3.0])
def test_total_variation(beta, rng):
    x = rng.uniform(-1, 1, (2, 6, 5, 3))
    theirs = torch.tensor(to_torch(x, "image"), requires_grad=True)
    right = torch.nn.functional.pad(theirs.diff(dim=3), (0, 1))
    down = torch.nn.functional.pad(theirs.diff(dim=2), (0, 0, 0, 1))
    value = ((right**2 + down**2 + 1e-30) ** (beta / 2)).sum(dim=1).mean(dim=(1, 2))
    ours = Tensor(asarray(x), requires_grad=True)
    mine = total_variation(ours, beta=beta)
    np.testing.assert_allclose(mine.numpy(), value.detach().numpy(), atol=4e-3)
    (theirs,) = torch.autograd.grad(value.sum(), theirs)
    np.testing.assert_allclose(
        to_numpy(grad(mine.sum(), ours)), from_torch(theirs.numpy(), "image"), atol=1e-4
    )


def test_ascent_of_a_convolution(rng):
    """Five steps: more energy, less variation."""
    model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()).astype(np.float64)
    theirs = torch.nn.Conv2d(3, 6, 3, padding=1)
    theirs.weight.data = torch.tensor(to_torch(model[0].weight.data, "conv"))
    theirs.bias.data = torch.tensor(to_numpy(model[0].bias.data))
    x = pictures(2, 7, 6) / 127.5 - 1
    z = torch.tensor(to_torch(x, "image"))
    for mine in ascend(model, x, penalised(energy("1"), 0.3, total_variation), steps=5):
        z.requires_grad_(True)
        right = torch.nn.functional.pad(z.diff(dim=3), (0, 1))
        down = torch.nn.functional.pad(z.diff(dim=2), (0, 0, 0, 1))
        answer = torch.relu(theirs(z))
        value = (answer**2).mean() * 2 / 2 - 0.3 * (right**2 + down**2).sum() / 42
        (g,) = torch.autograd.grad(value, z)
        z = (z + 0.05 * g / g.abs().mean(dim=(1, 2, 3), keepdim=True)).clamp(-1, 1).detach()
        np.testing.assert_allclose(to_numpy(mine), from_torch(z.numpy(), "image"), atol=1e-9)


def test_gram(rng):
    answer = rng.standard_normal((2, 4, 3, 5))
    theirs = torch.tensor(answer).reshape(2, 12, 5)
    expected = torch.bmm(theirs.transpose(1, 2), theirs) / 12
    found = gram(Tensor(asarray(answer))).numpy()
    np.testing.assert_allclose(found, expected.reshape(2, 25).numpy(), rtol=1e-12)
