"""Autoencoders: shapes, gradients, what stands between encoder and decoder, refusals.

That the network is Rombach et al.'s layer by layer is shown in
tests/oracle/test_autoencoder_diffusers.py.
"""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, backend, ops, optim
from tinydiff.backend import asarray, to_numpy
from tinydiff.kernels import workers
from tinydiff.models import AUTOENCODERS, Autoencoder, KLAutoencoder, VQAutoencoder
from tinydiff.team import team_of

TINY = {"base_channels": 8, "channel_mults": (1, 2), "norm_groups": 4}
every_kind = pytest.mark.parametrize("kind", list(AUTOENCODERS))


def tiny(kind="kl", dtype=np.float32, **settings):
    """A small network whose zero-initialised layers are not zero, so that all its parts matter."""
    td.seed(0)
    given = {"codes": 16} if kind == "vq" else {}
    model = AUTOENCODERS[kind](3, 2, **{**TINY, **given, **settings}).astype(dtype)
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        if not to_numpy(parameter.data).any():
            parameter.data += asarray(0.1 * rng.standard_normal(parameter.shape).astype(dtype))
    return model


def pictures(n=3, size=(8, 12), dtype=np.float32):
    return asarray(np.random.default_rng(1).standard_normal((n, *size, 3)).astype(dtype))


@every_kind
@pytest.mark.parametrize(
    ("settings", "stride"),
    [
        ({}, 2),
        ({"channel_mults": (1,)}, 1),
        ({"channel_mults": (1, 2, 2)}, 4),
        ({"patch": 2}, 4),
        ({"channel_mults": (1,), "patch": 4, "num_res_blocks": 2}, 4),
    ],
)
def test_f_by_f_pixels_become_one_place(kind, settings, stride):
    model, x = tiny(kind, **settings), pictures()
    assert model.stride == stride
    z = model.encode(x)
    assert z.shape == (3, 8 // stride, 12 // stride, 2)
    assert model.decode(z).shape == model(x).shape == x.shape
    x_hat, cost = model.reconstruct(x)
    assert x_hat.shape == x.shape and cost.shape == (3,)
    assert x_hat.dtype == cost.dtype == np.float32


def test_gradients_reach_everything():
    model = tiny(dtype=np.float64, patch=2)
    x = pictures(2, (8, 4), np.float64)
    td.gradcheck(model, x)
    weights = asarray(np.random.default_rng(2).standard_normal(x.shape))
    x_hat, cost = model.reconstruct(x)
    ((x_hat * weights).sum() + cost.sum() + model.log_scale).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_a_reconstruction_in_training_is_decoded_from_a_sample():
    model, x = tiny(dtype=np.float64), pictures(dtype=np.float64)
    td.seed(3)
    x_hat, cost = model.reconstruct(x)
    posterior = model.posterior(x)
    td.seed(3)
    np.testing.assert_array_equal(x_hat.numpy(), model.decode(posterior.sample()).numpy())
    np.testing.assert_array_equal(cost.numpy(), posterior.kl().numpy())
    np.testing.assert_array_equal(model.encode(x).numpy(), posterior.mean.numpy())
    np.testing.assert_array_equal(model(x).numpy(), model.decode(posterior.mean).numpy())


def test_a_vq_autoencoder_decodes_codes():
    """Whatever is decoded goes through the codebook, and in training the gradient around it."""
    model, x = tiny("vq"), pictures()
    model.reconstruct(x)  # puts the codes where latents are
    z = model.encode(x)
    codes = model.quantiser.codebook.data[model.quantiser.nearest(z)]
    assert len(np.unique(to_numpy(codes).reshape(-1, 2), axis=0)) > 2
    np.testing.assert_array_equal(model.decode(z).numpy(), model.decode(codes).numpy())
    x_hat, _ = model.eval().reconstruct(x)
    np.testing.assert_allclose(x_hat.numpy(), model(x).numpy(), atol=1e-5)
    (x_hat * x).sum().backward()
    assert to_numpy(model.encoder.body[0].weight.grad).any()
    assert not to_numpy(model.quantiser.codebook.grad).any()


@pytest.mark.skipif(backend.name != "numpy", reason="processes share work on CPUs only")
def test_processes_share_encoder_and_decoder_and_agree():
    model, x = tiny(base_channels=32), pictures(12, (32, 32))
    results = []
    for team in (None, team_of(model)):
        td.seed(4)
        model.zero_grad()
        if team is None:
            x_hat, cost = model.reconstruct(x)
        else:
            with team:
                x_hat, cost = model.reconstruct(x)
                assert workers.THREADS == 1 or team._helpers, "nothing was shared out"
        (ops.square(x_hat - x).mean() + cost.mean()).backward()
        grads = [to_numpy(p.grad).copy() for p in model.parameters() if p.grad is not None]
        results.append([x_hat.numpy(), cost.numpy(), *grads])
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, atol=2e-4 * np.abs(one).max())


@pytest.mark.parametrize(("kind", "share"), [("kl", 0.6), ("vq", 0.7)])
def test_learns_four_pictures_by_heart(kind, share):
    x = 0.5 * pictures(4, (4, 4))
    model = tiny(kind, base_channels=16, codes=64) if kind == "vq" else tiny(base_channels=16)
    optimiser = optim.Adam(model.parameters(), lr=5e-3)
    errors = []
    for _ in range(40):
        optimiser.zero_grad()
        x_hat, cost = model.reconstruct(x)
        error = ops.mse_loss(x_hat, x)
        (error + 1e-3 * cost.mean()).backward()
        optimiser.step()
        errors.append(error.item())
    assert np.mean(errors[-5:]) < share * errors[0], errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm_groups": 3}, "norm_groups=3 does not divide the channels"),
        ({"channel_mults": ()}, "there is no resolution"),
        ({"base_channels": 0}, "does not divide the channels"),
        ({"num_res_blocks": 0}, "num_res_blocks is 0, expected an int ≥ 1"),
        ({"patch": 0}, "patch is 0"),
    ],
)
def test_refuses_other_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny(**settings)
    with pytest.raises(ValueError, match="VQAutoencoder: latent_channels is 0"):
        VQAutoencoder(3, 0)


@every_kind
def test_refuses_other_pictures_and_latents(kind):
    model = tiny(kind)
    for x in (pictures(size=(7, 8)), pictures()[..., :2], pictures()[0]):
        with pytest.raises(ValueError, match=r"expected \(N, H, W, 3\) with H and W divisible"):
            model.encode(x)
    with pytest.raises(ValueError, match="expected"):
        model.decode(pictures())


def test_the_base_class_says_what_it_lacks():
    model = Autoencoder(3, 2, 2, **TINY)
    with pytest.raises(NotImplementedError, match="encode"):
        model(pictures())
    with pytest.raises(NotImplementedError, match="_bottleneck"):
        model.reconstruct(pictures())


def test_defaults_are_a_network():
    td.seed(0)
    assert KLAutoencoder(1, 3).decode(Tensor(np.zeros((1, 2, 2, 3), np.float32))).shape == (
        (1, 4, 4, 1)
    )
