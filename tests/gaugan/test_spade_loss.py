"""The loss of generator and encoder: its terms, who learns from them, and that they do."""

import numpy as np
import pytest
from small_painter import loss_of, maps, painter, pictures, regions, trainer

import tinydiff as td
from tinydiff import ops
from tinydiff.backend import randn, to_numpy, xp
from tinydiff.models import DiagonalGaussian
from tinydiff.models.semantic_map import one_hot


def watched(loss) -> list:
    """Every batch that the loss's discriminator is given from now on."""
    seen, discriminator = [], loss.adversary.discriminator

    class Watched(type(discriminator)):
        def forward(self, x):
            seen.append(x.numpy() if isinstance(x, td.Tensor) else to_numpy(x))
            return super().forward(x)

    discriminator.__class__ = Watched
    return seen


def test_the_discriminator_sees_maps_beside_pictures():
    """First it learns, from true pictures and drawn ones; then it is asked about these."""
    loss, x = loss_of(painter().model), pictures()
    seen = watched(loss)
    loss(x, maps(), regions())
    real, fake, asked = seen
    for batch in seen:
        np.testing.assert_array_equal(batch[..., 3:], to_numpy(one_hot(maps(), 3)))
    np.testing.assert_array_equal(real[..., :3], to_numpy(x))
    np.testing.assert_array_equal(fake, asked)
    assert (fake[..., :3] != real[..., :3]).all(axis=(1, 2, 3)).all()


@pytest.mark.parametrize(("kl_weight", "weight"), [(1e-3, 0.5), (0.5, 0.1), (1.0, 0.0)])
def test_its_terms(kl_weight, weight):
    loss, x = loss_of(painter().model, weight, kl_weight=kl_weight), pictures()
    td.seed(5)
    got = loss(x, maps(), regions()).item()
    td.seed(5)
    m = td.Tensor(one_hot(maps(), 3))
    both = ops.concat([td.Tensor(x), m])
    said = DiagonalGaussian(loss.model.encoder(both[:2], regions()[:2]))
    free = td.Tensor(randn((2, 4, 2)))
    y = loss.model.generator(maps(), regions(), ops.concat([said.sample(), free], axis=0))
    error = ops.l1_loss(y[:2], x[:2])
    assert error.item() == pytest.approx(np.abs(y.numpy()[:2] - to_numpy(x)[:2]).mean())
    g = -loss.adversary.discriminator(ops.concat([y, m])).mean()  # after its step
    pulls = [np.linalg.norm(to_numpy(td.grad(each, y, retain_graph=True))) for each in (error, g)]
    mean, log_variance = said.mean.numpy(), said.log_variance.numpy()
    kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum() / 2
    passes = weight * pulls[0] / (pulls[1] + 1e-4) * g.item()
    assert got == pytest.approx(error.item() + kl_weight * kl + passes, rel=1e-4)


def test_gradients_go_to_generator_and_encoder_only():
    loss = loss_of(painter().model)
    value = loss(pictures(), maps(), regions())
    judge = loss.adversary.discriminator
    learned = [to_numpy(p.grad).copy() for p in judge.parameters()]
    value.backward()
    for name, parameter in loss.model.named_parameters():
        assert bool(xp.abs(parameter.grad).max() > 0), name
    for parameter, gradient in zip(judge.parameters(), learned, strict=True):
        assert parameter.requires_grad
        np.testing.assert_array_equal(to_numpy(parameter.grad), gradient)


def test_who_teaches_what():
    """Likeness only the pictures that are to be like others, the discriminator all of them."""
    for weight, expected in ((0.0, [True, True, False, False]), (0.5, [True] * 4)):
        loss, drawn = loss_of(painter().model, weight), []
        draw = loss.model.generator.forward

        def kept(*given, draw=draw, drawn=drawn):
            drawn.append(draw(*given))
            return drawn[0]

        loss.model.generator.forward = kept
        value = loss(pictures(), maps(), regions())
        pulls = np.abs(to_numpy(td.grad(value, drawn[0]))).sum(axis=(1, 2, 3)) > 0
        assert pulls.tolist() == expected


def test_it_teaches_to_paint_by_numbers():
    """Of classes that are dark, grey and light, after some steps the drawn ones are, too."""
    made = trainer(lr=5e-3)
    shades = np.array([-0.8, 0.0, 0.8], np.float32)
    x = shades[maps()][..., None].repeat(3, axis=3)
    made.batches = [(x, maps(), regions())] * 60
    for _ in made.run(until=60):
        pass
    with td.no_grad():
        drawn = made.model.generator(maps(), regions(), randn((4, 4, 2))).numpy().mean(axis=3)
    dark, grey, light = (drawn[maps() == k].mean() for k in range(3))
    assert dark < grey - 0.3 and grey < light - 0.3, (dark, grey, light)


def test_refusals():
    with pytest.raises(ValueError, match="kl_weight: expected a finite number ≥ 0, got -1"):
        loss_of(painter().model, kl_weight=-1)
    with pytest.raises(ValueError, match="x: expected at least 2 pictures, got 1"):
        loss_of(painter().model)(pictures(1), maps(1), regions(1))
