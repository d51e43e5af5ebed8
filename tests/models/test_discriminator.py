"""The discriminator of patches: its map, what a logit sees, its first weights, refusals."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import ops, optim
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import PatchDiscriminator


def tiny(layers=1, dtype=np.float32, **settings):
    td.seed(0)
    return PatchDiscriminator(3, **{"base_channels": 4, **settings}, layers=layers).astype(dtype)


def pictures(n=2, size=(24, 16), dtype=np.float32):
    return asarray(np.random.default_rng(1).standard_normal((n, *size, 3)).astype(dtype))


@pytest.mark.parametrize(
    ("layers", "size", "expected"),
    [(1, (6, 7), (1, 1)), (2, (24, 16), (4, 2)), (3, (64, 64), (6, 6)), (3, (24, 24), (1, 1))],
)
def test_a_logit_for_each_patch(layers, size, expected):
    assert tiny(layers)(pictures(size=size)).shape == (2, *expected)


@pytest.mark.parametrize(("layers", "seen"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_a_patch_of_16_34_70_pixels(layers, seen):
    """In evaluation, where batch norm looks at nothing else."""
    side = 144
    model = tiny(layers, np.float64).eval()
    x = td.Tensor(pictures(1, (side, side), np.float64), requires_grad=True)
    y = model(x)
    middle = y.shape[1] // 2
    rows = np.flatnonzero(np.abs(to_numpy(td.grad(y[0, middle, middle], x))).sum(axis=(0, 2, 3)))
    assert (rows[-1] - rows[0] + 1, len(rows)) == (seen, seen)


def test_the_networks_of_the_paper():
    """Isola et al.'s 70 × 70, as counted layer by layer in appendix 6.1.2, with batch norm's."""
    convs = [(3, 64, 1), (64, 128, 0), (128, 256, 0), (256, 512, 0), (512, 1, 1)]
    count = sum(16 * a * b + bias * b for a, b, bias in convs) + 2 * (128 + 256 + 512)
    td.seed(0)
    model = PatchDiscriminator(3)
    assert model.num_parameters() == count
    for name, parameter in model.named_parameters():
        values = to_numpy(parameter.data)
        if values.ndim == 4:
            assert abs(values.mean()) < 0.001 and values.std() == pytest.approx(0.02, rel=0.1)
        elif name.endswith("weight"):
            assert values.mean() == pytest.approx(1, abs=0.01)
            assert values.std() == pytest.approx(0.02, rel=0.3)


def test_wider_up_to_eight_times():
    widths = [p.shape[3] for p in tiny(5).parameters() if p.ndim == 4]
    assert widths == [4, 8, 16, 32, 32, 32, 1]


def test_gradients():
    model = tiny(1, np.float64)
    x = pictures(2, (8, 6), np.float64)
    for norm in (p for p in model.parameters() if p.ndim == 4):
        norm.data *= 20  # so that LeakyReLU's kink is far from what differences step over
    td.gradcheck(model, x)


def test_learns_to_tell_rough_from_smooth():
    rough = pictures(8)
    smooth = ops.resize_bilinear2d(pictures(8, (6, 4)), size=(24, 16)).data
    model = tiny(base_channels=8)
    optimiser = optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(20):
        optimiser.zero_grad()
        (ops.relu(1 - model(rough)).mean() + ops.relu(1 + model(smooth)).mean()).backward()
        optimiser.step()
    with td.no_grad():
        assert model(rough).mean().item() > 0.5
        assert model(smooth).mean().item() < -0.5


def test_refusals():
    with pytest.raises(ValueError, match="layers is 0"):
        tiny(0)
    with pytest.raises(ValueError, match="base_channels is -1"):
        tiny(base_channels=-1)
    with pytest.raises(ValueError, match="expected H and W ≥ 12"):
        tiny(2)(pictures(size=(11, 24)))
    with pytest.raises(ValueError, match=r"expected \(N, H, W, 3\)"):
        tiny()(pictures()[..., :1])
