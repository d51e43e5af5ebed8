"""Rectified flow: the velocity of Gaussian data in closed form, and one that a network learns."""

import numpy as np
import pytest
from ideal import last, noise

import tinydiff as td
from tinydiff import Tensor, nn, ops, optim
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.diffusion import flow, flow_velocity, sample_flow


def gaussian_velocity(mean, variance):
    """E[ε − x_0 | x_s] for x_0 ~ N(mean, variance)"""

    def velocity(x, s):
        away = (x - (1 - s) * mean) / ((1 - s) ** 2 * variance + s**2)
        return s * away - (mean + (1 - s) * variance * away)

    return velocity


@pytest.mark.parametrize(("method", "low", "high"), [("euler", 1.9, 2.1), ("midpoint", 7.5, 8.5)])
def test_order_on_gaussian_data(method, low, high):
    """The flow takes x_1 to m + √v x_1: every x_s keeps its place among the others.

    The midpoint's errors of second order cancel here, on the whole way from s = 1 to 0.
    """
    x_1, velocity = noise(6), gaussian_velocity(0.3, 0.09)
    exact = 0.3 + 0.3 * to_numpy(x_1)
    errors = [
        np.abs(last(sample_flow(velocity, x_1, steps=n, method=method)) - exact).max()
        for n in (20, 40, 80, 160)
    ]
    ratios = np.divide(errors[:-1], errors[1:])
    assert np.all((low < ratios) & (ratios < high)), (errors, ratios)


def test_a_start_on_the_way_needs_only_the_rest():
    """What is x_s of the flow at s = ¾ goes on to the same pictures."""
    velocity, film = gaussian_velocity(0.3, 0.09), []
    film = [to_numpy(x) for x in sample_flow(velocity, noise(6), steps=40)]
    rest = sample_flow(velocity, asarray(film[9]), steps=30, start=0.75)
    np.testing.assert_allclose([to_numpy(x) for x in rest], film[10:], rtol=1e-12)


@pytest.mark.parametrize("method", ["euler", "midpoint"])
@pytest.mark.parametrize("steps", [1, 7])
def test_a_point_mass_is_returned_exactly(method, steps):
    """All lines meet in one point, so each is straight and a single step is enough."""
    x = last(sample_flow(lambda x, s: (x - 0.7) / s, noise(8), steps=steps, method=method))
    np.testing.assert_allclose(x, 0.7, rtol=1e-12)


def ideal_model(x0):
    """A network that knows x_0, and believes the s it is told."""

    def model(x, t, cond):
        s = asarray((t / 1000).reshape(-1, 1))
        return (x - x0) / Tensor(s)

    return model


@pytest.mark.parametrize("moments", ["uniform", "logit-normal"])
def test_the_loss_of_a_network_that_knows_the_answer_is_nothing(moments):
    x0 = noise(64, 3)
    loss = flow.training_loss(ideal_model(x0), x0, moments=moments)
    assert loss.shape == () and loss.item() < 1e-20


class Recorder:
    """A model that keeps what it was shown and answers zeros."""

    num_classes = None

    def __call__(self, x, t, cond):
        self.seen = to_numpy(x.data), t, cond
        return Tensor(xp.zeros_like(x.data))


def test_moments_are_spread_as_they_should():
    model, x0 = Recorder(), xp.zeros((20_000, 1))
    for moments, low in (("uniform", 0.25), ("logit-normal", 0.3375)):
        loss = flow.training_loss(model, x0, moments=moments, rng=np.random.default_rng(0))
        x_s, t, _ = model.seen
        assert t.min() > 0 and t.max() < 1000
        quartiles = np.quantile(t / 1000, [0.25, 0.5, 0.75])
        np.testing.assert_allclose(quartiles, [low, 0.5, 1 - low], atol=0.02)
        # x_0 = 0: x_s is s ε, and the target ε.
        assert np.mean((x_s[:, 0] / (t / 1000)) ** 2) == pytest.approx(loss.item(), rel=1e-9)


def test_labels_reach_the_network_and_some_are_dropped():
    model = Recorder()
    model.num_classes = 3
    flow.training_loss(
        model, xp.zeros((5000, 1)), cond=np.full(5000, 2), rng=np.random.default_rng(0)
    )
    assert set(model.seen[2].tolist()) == {2, 3}
    assert np.mean(model.seen[2] == 3) == pytest.approx(0.1, abs=0.02)
    flow_velocity(model, [0, 1])(xp.zeros((2, 1)), 0.25)
    assert model.seen[2].tolist() == [0, 1]
    assert model.seen[1].tolist() == [250, 250]
    flow_velocity(model)(xp.zeros((2, 1)), 0.25)
    assert model.seen[2].tolist() == [3, 3]


class Line(nn.Module):
    """A velocity of points in the plane, from the point and its moment."""

    def __init__(self):
        self.body = nn.Sequential(
            nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2)
        )

    def forward(self, x, t, cond=None):
        s = to_numpy(t).reshape(-1, 1) / 1000
        waves = np.concatenate([s, s**2, np.sin(3 * s), np.cos(3 * s)], axis=1)
        return self.body(ops.concat([x, Tensor(asarray(waves, np.float32))], axis=1))


def test_a_small_network_learns_two_clusters():
    td.seed(0)
    model, rng = Line(), np.random.default_rng(0)
    adam = optim.Adam(model.parameters(), lr=5e-3)
    centres = np.array([[-0.6, 0.4], [0.6, -0.2]], np.float32)
    for _ in range(600):
        x0 = centres[rng.integers(2, size=256)] + 0.08 * rng.standard_normal((256, 2))
        adam.zero_grad()
        flow.training_loss(model, x0.astype(np.float32), rng=rng).backward()
        adam.step()
    x = last(sample_flow(flow_velocity(model), noise(2000, 2, dtype=np.float32), steps=10))
    distance = np.linalg.norm(x[:, None] - centres, axis=2)
    assert np.mean(distance.min(axis=1) < 0.3) > 0.85
    assert np.mean(distance.argmin(axis=1)) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: next(sample_flow(lambda x, s: x, x, steps=0)), ValueError, "steps: .*got 0"),
        (lambda x: next(sample_flow(lambda x, s: x, x.astype(int))), TypeError, "int64"),
        (lambda x: next(sample_flow(lambda x, s: x, x, start=1.5)), ValueError, "start: .*1.5"),
        (lambda x: next(sample_flow(lambda x, s: x, x, method="rk4")), ValueError, "method: .*rk4"),
        (
            lambda x: flow.training_loss(Recorder(), x, moments="all"),
            ValueError,
            "moments: .*'all'",
        ),
        (lambda x: flow.training_loss(Recorder(), x.astype(int)), TypeError, "int64"),
        (lambda x: flow.training_loss(Recorder(), x, cond=[0, 0]), ValueError, "unconditional"),
        (lambda x: flow.training_loss(lambda x, t, c: x[:1], x), ValueError, "shape"),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call(np.zeros((2, 1)))
