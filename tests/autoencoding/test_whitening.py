"""Latents that begin white: against their definition, and what the rest of the network keeps."""

import numpy as np
import pytest
from small import autoencoder, pictures

from tinydiff.autoencoding import whiten
from tinydiff.autoencoding.whitening import QUIET
from tinydiff.backend import to_numpy
from tinydiff.models import DiagonalGaussian
from tinydiff.recording import no_grad


def latents(model, x):
    with no_grad():
        return to_numpy(model.encode(x).data).reshape(-1, model.latent_channels)


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_latents_are_white(kind):
    model, x = autoencoder(kind, np.float64), pictures(n=5, dtype=np.float64)
    assert abs(np.corrcoef(latents(model, x).T)[0, 1]) > 0.1, "they are white already"
    whiten(model, x)
    z = latents(model, x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(z.T @ z / len(z), np.eye(2), atol=1e-10)


def test_they_say_what_they_said():
    """Nothing is lost: the old latents are a linear function of the new ones."""
    model, x = autoencoder("kl", np.float64), pictures(n=5, dtype=np.float64)
    before = latents(model, x)
    whiten(model, x)
    told = np.column_stack([latents(model, x), np.ones(len(before))])
    (_, rest, rank, _) = np.linalg.lstsq(told, before)
    assert rank == 3 and (rest < 1e-15).all()


def test_a_gaussian_begins_narrower_by_so_much():
    model, x = autoencoder("kl", np.float64), pictures(dtype=np.float64)
    with no_grad():
        before = DiagonalGaussian(model._said(x)).log_variance
        whiten(model, x)
        after = model.posterior(x).log_variance
    np.testing.assert_allclose(to_numpy(after.data - before.data), QUIET, atol=1e-12)


def test_the_same_pictures_the_same_network():
    first, second = autoencoder(), autoencoder()
    for model in (first, second):
        whiten(model, pictures())
    for name, value in first.state_dict().items():
        np.testing.assert_array_equal(to_numpy(value), to_numpy(second.state_dict()[name]))


def test_refuses_latents_that_do_not_vary():
    model = autoencoder()
    *_, last = model.encoder.body
    last.weight.data[...] = 0
    with pytest.raises(ValueError, match="whose 2 latents vary independently, got variances"):
        whiten(model, pictures())
