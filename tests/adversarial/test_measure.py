"""What attacks achieve, measured."""

import numpy as np
import pytest
from attacked_nets import some_pictures, stripes, trained, untrained

from tinydiff import adversarial
from tinydiff.adversarial.network import logits_of
from tinydiff.backend import asarray, to_numpy


def test_carried_out_measures(rng):
    model, (x, y), batches = trained(), stripes(40, 1), []

    def watched(model, x, y, **settings):
        batches.append((len(x), len(y)))
        return adversarial.fgsm(model, x, y, **settings)

    got = adversarial.carried_out(watched, model, x, y, batch=16, eps=0.2)
    assert batches == [(16, 16), (16, 16), (8, 8)]
    z = to_numpy(adversarial.fgsm(model, asarray(x), y, eps=0.2))
    np.testing.assert_allclose(got.pictures, z, atol=1e-6)
    np.testing.assert_array_equal(got.seen, adversarial.classes_seen(model, asarray(z)))
    d = (z.astype(np.float64) - x).reshape(40, -1)
    np.testing.assert_allclose(got.l2, np.linalg.norm(d, axis=1), rtol=1e-6)
    np.testing.assert_allclose(got.linf, np.abs(d).max(axis=1), rtol=1e-6)
    assert all(type(a) is np.ndarray for a in got)
    for wrong, message in (({"batch": 0}, "batch is 0, expected an int ≥ 1"), ({}, "got none")):
        with pytest.raises(ValueError, match=message):
            adversarial.carried_out(adversarial.fgsm, model, x[:0], y[:0], eps=0.2, **wrong)
    for batch in (40, 20):
        with pytest.raises(ValueError, match=r"y has shape \(41,\), expected .* \(40,\)"):
            adversarial.carried_out(adversarial.fgsm, model, x, [*y, 0], eps=0.2, batch=batch)
    for asked in (adversarial.classes_seen, adversarial.probabilities):
        with pytest.raises(TypeError, match="model: expected a Module, got method"):
            asked(model.forward, x)


def test_transfer_is_a_table_of_who_is_fooled_by_what(rng):
    model, other, (x, y) = trained(), untrained(), stripes(40, 1)
    table = adversarial.transfer(
        adversarial.pgd, [model, other], x, y, eps=0.3, rng=np.random.default_rng(0)
    )
    own = adversarial.carried_out(
        adversarial.pgd, model, x, y, eps=0.3, rng=np.random.default_rng(0)
    )
    assert table.shape == (2, 2)
    assert table[0, 0] == (own.seen == y).mean()
    assert table[0, 1] == (adversarial.classes_seen(other, asarray(own.pictures)) == y).mean()


def test_probabilities_are_the_softmax_in_batches(rng, monkeypatch):
    monkeypatch.setattr(adversarial.measure, "BATCH", 3)
    model = untrained()
    x, _ = some_pictures(rng, 8)
    got = adversarial.probabilities(model, x)
    logits = to_numpy(logits_of(model.eval(), x)).astype(np.float64)
    e = np.exp(logits)
    np.testing.assert_allclose(got, e / e.sum(axis=1, keepdims=True), rtol=1e-5)
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got.argmax(axis=1), adversarial.classes_seen(model, x))
