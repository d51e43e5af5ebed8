"""CLIP: vectors of length 1, each by itself; the contrastive loss, pair by pair; refusals.

That the loss and its gradients are PyTorch's is shown in tests/oracle/test_clip_torch.py.
"""

import math

import numpy as np
import pytest
from parameter_gradients import check_parameters

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.models import CLIP, contrastive_loss
from tinydiff.models.clip import unit

TOKENS = np.array([[2, 3, 4, 0], [3, 2, 0, 0], [5, 4, 3, 2]])
IMAGE = {"side": 8, "patch": 2, "widths": (4, 8), "norm_groups": 2, "depth": 1, "heads": 2}
TEXT = {"vocabulary": 6, "length": 4, "width": 8, "depth": 1, "heads": 2}


def small(dtype=np.float64, **image) -> CLIP:
    td.seed(0)
    made = CLIP(2, 5, image={**IMAGE, **image}, text=TEXT).astype(dtype)
    for p in made.parameters():
        p.data += 0.2 * randn(p.shape, dtype=dtype)
    return made


def pictures(n=3, side=8, dtype=np.float64):
    return randn((n, side, side, 2), rng=np.random.default_rng(1), dtype=dtype)


def run(model, *inputs):
    with td.no_grad():
        return model(*inputs).numpy()


def test_logits_are_cosines_by_temperature():
    model, x = small(), pictures()
    a, b = run(model.image, x), run(model.text, TOKENS)
    assert a.shape == b.shape == (3, 5)
    for z in (a, b):
        np.testing.assert_allclose((z**2).sum(axis=1), 1, atol=1e-9)
    scale = math.exp(float(model.log_scale.data))
    np.testing.assert_allclose(run(model, x, TOKENS[:2]), scale * a @ b[:2].T, atol=1e-12)


def test_it_begins_at_a_temperature_of_7_percent_and_ends_at_1():
    td.seed(0)
    model = CLIP(2, 5, image=IMAGE, text=TEXT)
    assert math.exp(-float(model.log_scale.data)) == pytest.approx(0.07)
    model.log_scale.data[...] = 20.0
    logits = model(pictures(dtype=np.float32), TOKENS)
    assert 1 < abs(to_numpy(logits.data)).max() <= 100.01
    logits.sum().backward()
    assert float(model.log_scale.grad) == 0


def test_gradients_of_all_parameters():
    model, x = small(), pictures()
    without = tuple(f"{t}.blocks.0.attention.key.bias" for t in ("image", "text.encoder"))
    loss = lambda: contrastive_loss(model(x, TOKENS), np.array([0, 1, 0]))
    check_parameters(model, loss, without=without)


def test_each_picture_and_each_caption_is_seen_by_itself():
    model, x, order = small(), pictures(), [2, 0, 1]
    for tower, given in ((model.image, x), (model.text, TOKENS)):
        z = run(tower, given)
        np.testing.assert_allclose(run(tower, given[order]), z[order], atol=1e-12)
        np.testing.assert_allclose(run(tower, given[1:2]), z[1:2], atol=1e-12)
    assert model.image.independent_images and model.text.independent_images
    assert not model.independent_images


def test_a_caption_is_all_its_words_in_their_order_and_no_padding():
    model = small()
    z = run(model.text, [[2, 3, 4, 0], [4, 3, 2, 0], [2, 3, 4, 4], [2, 3, 0, 0]])
    for i in range(4):
        for j in range(i):
            assert abs(z[i] - z[j]).max() > 1e-3, (i, j)
    model.text.encoder.word.weight.data[0] += 1.0
    np.testing.assert_allclose(run(model.text, np.array([[2, 3, 4]])), z[:1], atol=1e-12)
    np.testing.assert_allclose(run(model.text, np.array([[2, 3, 4, 0]])), z[:1], atol=1e-12)


def test_where_something_is_in_the_picture_is_seen():
    model, x = small(), np.zeros((4, 8, 8, 2))
    for i, (row, column) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
        x[i, row : row + 4, column : column + 4] = 1
    z = run(model.image, asarray(x))
    assert min(abs(z[i] - z[j]).max() for i in range(4) for j in range(i)) > 1e-3


def by_loops(logits, meanings) -> float:
    """Each picks its own among all that mean something else."""
    n, costs = len(logits), []
    for rows in (logits, logits.T):
        for i in range(n):
            rivals = [j for j in range(n) if j == i or meanings[j] != meanings[i]]
            costs.append(math.log(sum(math.exp(rows[i, j]) for j in rivals)) - rows[i, i])
    return sum(costs) / (2 * n)


@pytest.mark.parametrize("meanings", [None, [0, 1, 2, 3, 4], [3, 1, 3, 1, 3], [7] * 5])
def test_the_loss_by_loops(meanings):
    logits = 3 * np.random.default_rng(0).standard_normal((5, 5))
    told = None if meanings is None else np.array(meanings)
    got = contrastive_loss(Tensor(asarray(logits)), told).item()
    assert got == pytest.approx(by_loops(logits, meanings or range(5)), abs=1e-12)
    td.gradcheck(lambda z: contrastive_loss(z, told), logits)


def test_of_equal_logits_the_loss_is_the_logarithm_of_how_many_there_are():
    same = Tensor(asarray(np.full((8, 8), 2.5, np.float32)))
    assert contrastive_loss(same).item() == pytest.approx(math.log(8), rel=1e-6)
    assert contrastive_loss(same, np.arange(8) // 2).item() == pytest.approx(math.log(7), rel=1e-6)


def test_unit_of_nothing_is_nothing():
    z = unit(Tensor(asarray(np.zeros((2, 3), np.float32))))
    assert not to_numpy(z.data).any()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: CLIP(2, 0, image=IMAGE, text=TEXT), "CLIP: embedding is 0, expected an int ≥ 1"),
        (lambda: small(side=10), "ImageTower: side is 10, expected a multiple of 4"),
        (lambda: small(depth=0), "ImageTower: depth is 0"),
        (lambda: small(widths=(4, 6), heads=4), "num_heads 4 does not divide embed_dim 6"),
        (lambda: small(widths=(4, 5)), "ImageTower: norm_groups=2 does not divide the widths"),
        (lambda: small().image(pictures(side=16)), r"expected sides of 8"),
        (lambda: small().image(pictures(side=6)), "H and W divisible by 4"),
        (lambda: small().image(pictures()[..., :1]), r"expected \(N, H, W, 2\)"),
        (lambda: small().text(np.zeros((1, 4), int)), "expected a word in each row"),
        (lambda: contrastive_loss(Tensor(np.zeros((2, 3)))), r"logits: expected \(N, N\)"),
        (
            lambda: contrastive_loss(Tensor(np.zeros((2, 2))), [0, 1, 2]),
            r"meanings: expected 2 integers, got shape \(3,\)",
        ),
    ],
)
def test_refuses(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()
