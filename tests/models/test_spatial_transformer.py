"""The block that tells a picture its caption: where it starts, what it sees, its gradients.

That it is the block of latent diffusion is shown in tests/oracle/test_transformers_torch.py.
"""

import numpy as np
import pytest
from parameter_gradients import check_parameters

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import randn, to_numpy
from tinydiff.models.spatial_transformer import SpatialTransformer

MASK = np.array([[[True, True, True]], [[True, False, False]]])


def block(**settings) -> SpatialTransformer:
    """One in which nothing is zero."""
    td.seed(0)
    made = SpatialTransformer(8, 5, **{"groups": 4, "heads": 2, **settings}).astype(np.float64)
    for p in made.parameters():
        p.data += 0.3 * randn(p.shape, dtype=np.float64)
    return made


def inputs(n=2, size=(2, 3)):
    td.seed(1)
    return randn((n, *size, 8), dtype=np.float64), randn((n, 3, 5), dtype=np.float64)


def run(model, x, context, mask=None):
    with td.no_grad():
        return model(Tensor(x), Tensor(context), mask).numpy()


def test_it_starts_as_the_identity():
    x, context = inputs()
    made = SpatialTransformer(8, 5, groups=4, depth=2).astype(np.float64)
    np.testing.assert_array_equal(run(made, x, context), to_numpy(x))


def test_every_pixel_sees_all_others_and_all_words():
    model = block()
    x, context = inputs()
    y = run(model, x, context)
    assert y.shape == x.shape
    for place in ((0, 0), (1, 2)):
        moved = x.copy()
        moved[(0, *place)] += 1
        change = np.abs(run(model, moved, context) - y)
        assert (change[0].max(axis=-1) > 1e-6).all() and not change[1].any()
    for word in range(3):
        moved = context.copy()
        moved[1, word] += 1
        change = np.abs(run(model, x, moved) - y)
        assert (change[1].max(axis=-1) > 1e-6).all() and not change[0].any()


def test_masked_words_are_not_there():
    model = block(depth=2)
    x, context = inputs()
    y = run(model, x, context, MASK)
    np.testing.assert_allclose(run(model, x[:1], context[:1]), y[:1], atol=1e-12)
    np.testing.assert_allclose(run(model, x[1:], context[1:, :1]), y[1:], atol=1e-12)


def test_the_order_of_the_words_is_for_the_encoder_to_tell():
    model = block()
    x, context = inputs()
    same = run(model, x, context[:, ::-1].copy())
    np.testing.assert_allclose(same, run(model, x, context), atol=1e-12)


def test_gradients():
    model, (x, context) = block(), inputs()
    td.gradcheck(lambda x, context: model(x, context, MASK), to_numpy(x), to_numpy(context))
    weights = Tensor(randn(x.shape, dtype=np.float64))
    check_parameters(model, lambda: (model(Tensor(x), Tensor(context), MASK) * weights).sum())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 3}, "num_heads"),
        ({"depth": 0}, "depth is 0"),
        ({"groups": 3}, "num_groups"),
        ({"context_dim": 0}, "context_dim is 0"),
    ],
)
def test_refuses_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        SpatialTransformer(**{"channels": 8, "context_dim": 5, "groups": 4, **settings})
