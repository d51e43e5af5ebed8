"""Which steps are trained: drawn from p, evenly spread, and no loss changed in expectation."""

import numpy as np
import pytest

from tinydiff import Tensor, load, nn, optim, save, seed
from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule
from tinydiff.diffusion.timesteps import LossAwareTimesteps, UniformTimesteps
from tinydiff.training import Trainer


def warm(T=8, losses=None, **settings):
    """A sampler that has seen the loss of every step as often as it wants."""
    sampler = LossAwareTimesteps(T, **settings)
    for _ in range(10):
        sampler.update(np.arange(T), asarray(np.arange(T) + 1.0 if losses is None else losses))
    return sampler


def frequencies(sampler, T, batch=7, batches=4000):
    rng = np.random.default_rng(0)
    counts, factors = np.zeros(T), np.zeros(T)
    for _ in range(batches):
        t, factor = sampler.draw(batch, rng)
        np.add.at(counts, t, 1)
        factors[t] = factor
    return counts / counts.sum(), factors


def test_uniform_draws_all_alike_and_weighs_none():
    p, factors = frequencies(UniformTimesteps(5), 5)
    np.testing.assert_allclose(p, 0.2, atol=0.01)
    np.testing.assert_array_equal(factors, 1)


@pytest.mark.parametrize("sampler", [UniformTimesteps(1000), warm(1000, np.full(1000, 0.5))])
def test_a_batch_is_spread_evenly(sampler):
    t, _ = sampler.draw(10, np.random.default_rng(0))
    gaps = np.diff(np.append(np.sort(t), np.sort(t)[0] + 1000))
    assert gaps.min() >= 99 and gaps.max() <= 101


def test_until_all_are_known_all_are_alike():
    sampler = LossAwareTimesteps(4)
    for _ in range(10):
        np.testing.assert_array_equal(sampler.probabilities(), 0.25)
        sampler.update(np.array([0, 1, 2]), asarray(np.array([9.0, 1.0, 1.0])))
    for _ in range(9):
        sampler.update(np.array([3]), asarray(np.array([1.0])))
        np.testing.assert_array_equal(sampler.probabilities(), 0.25)
    sampler.update(np.array([3]), asarray(np.array([1.0])))
    np.testing.assert_allclose(sampler.probabilities()[0], 0.999 * 9 / 12 + 0.001 / 4)


def test_probabilities_are_root_mean_squares_of_the_last_ten():
    sampler, rng = warm(3), np.random.default_rng(0)
    seen = rng.exponential(size=(25, 3))
    for losses in seen:
        sampler.update(np.arange(3), asarray(losses))
    size = np.sqrt((seen[-10:] ** 2).mean(axis=0))
    expected = 0.999 * size / size.sum() + 0.001 / 3
    np.testing.assert_allclose(sampler.probabilities(), expected, rtol=1e-12)


def test_a_step_that_comes_twice_in_a_batch_counts_twice():
    sampler = warm(2, history=3)
    sampler.update(np.array([0, 1, 0, 0]), asarray(np.array([5.0, 2.0, 6.0, 7.0])))
    np.testing.assert_array_equal(sampler.state_dict()["losses"], [[5, 6, 7], [2, 2, 2]])


def test_steps_come_as_often_as_they_should_and_the_mean_loss_stays():
    sampler = warm(8)
    p, factors = frequencies(sampler, 8)
    expected = sampler.probabilities()
    np.testing.assert_allclose(p, expected, atol=0.005)
    np.testing.assert_allclose(factors, 1 / (8 * expected), rtol=1e-12)
    loss = np.random.default_rng(1).standard_normal(8)
    assert (expected * factors * loss).sum() == pytest.approx(loss.mean(), rel=1e-12)


def test_the_estimate_of_the_loss_is_less_noisy():
    """What it is for: losses as uneven as those of the bound."""
    true = 1 / (1 + np.arange(100.0)) ** 2
    aware, rng = warm(100, true), np.random.default_rng(0)

    def spread(sampler):
        draws = (sampler.draw(4, rng) for _ in range(500))
        estimates = np.array([(true[t] * factors).mean() for t, factors in draws])
        assert abs(estimates.mean() - true.mean()) < 5 * estimates.std() / np.sqrt(500)
        return estimates.std()

    assert spread(aware) < 0.1 * spread(UniformTimesteps(100))


def test_a_loss_that_is_no_number_is_not_remembered():
    sampler = warm(3)
    before = sampler.probabilities()
    sampler.update(np.arange(3), asarray(np.array([np.nan, np.inf, 3.0])))
    np.testing.assert_array_equal(sampler.probabilities(), before)


def test_losses_of_nothing_leave_all_alike():
    np.testing.assert_array_equal(warm(4, np.zeros(4)).probabilities(), 0.25)


def test_training_loss_weighs_and_reports():
    """The loss it reports is each picture's, without its factor; the mean is with it."""

    class Always:
        def draw(self, count, rng):
            return np.array([3, 3, 7]), np.array([1.0, 2.0, 0.0])

        def update(self, t, losses):
            self.seen = t, to_numpy(losses)

    steps, diffusion = Always(), GaussianDiffusion(NoiseSchedule.linear(10))
    x0 = asarray(np.zeros((3, 4)))
    network = lambda x, t, cond: Tensor(0 * x.data)
    loss = diffusion.training_loss(network, x0, timesteps=steps, rng=np.random.default_rng(0))
    noise = np.random.default_rng(0).standard_normal((3, 4))
    np.testing.assert_array_equal(steps.seen[0], [3, 3, 7])
    np.testing.assert_allclose(steps.seen[1], (noise**2).mean(axis=1))
    assert loss.item() == pytest.approx((steps.seen[1] * [1, 2, 0]).mean())


# Checkpoints


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x, t, cond=None):
        return self.linear(x) * asarray((1 + t.reshape(-1, 1) / 4).astype(np.float32))


class Batches:
    def __getitem__(self, i):
        return (np.random.default_rng(i).uniform(-1, 1, (16, 3)).astype(np.float32),)


def trainer():
    model, diffusion = Net(), GaussianDiffusion(NoiseSchedule.cosine(4))
    for i, p in enumerate(model.parameters()):
        values = np.random.default_rng(i).standard_normal(p.shape, dtype=np.float32)
        p.data = asarray(values)
    steps = LossAwareTimesteps(4)
    loss = lambda x0: diffusion.training_loss(model, x0, timesteps=steps)
    adam = optim.Adam(model.parameters(), lr=1e-2)
    return Trainer(model, loss, Batches(), adam, states={"timesteps": steps}), steps


def test_a_resumed_run_goes_on_with_the_same_bits(tmp_path):
    seed(0)
    whole, steps = trainer()
    list(whole.run(until=12))
    assert not np.allclose(steps.probabilities(), 0.25), "long enough to be aware"

    seed(0)
    first, _ = trainer()
    list(first.run(until=7))
    save(tmp_path / "half.npz", first.state_dict())
    second, again = trainer()
    second.load_state_dict(load(tmp_path / "half.npz"))
    list(second.run(until=12))
    np.testing.assert_array_equal(steps.probabilities(), again.probabilities())
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        np.testing.assert_array_equal(to_numpy(a.data), to_numpy(b.data))


def test_a_trainer_says_which_states_do_not_fit():
    one, _ = trainer()
    state = one.state_dict()
    one.load_state_dict(state)
    other = Trainer(one.model, one.loss, one.batches, one.optimiser)
    with pytest.raises(ValueError, match=r"states: .*\['timesteps'\].*\[\]"):
        other.load_state_dict(state)
    del state["states"]  # written before there were any
    other.load_state_dict(state)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LossAwareTimesteps(0), "T: .*0"),
        (lambda: UniformTimesteps(2.0), "T: .*2.0"),
        (lambda: LossAwareTimesteps(4, history=0), "history: "),
        (lambda: LossAwareTimesteps(4, uniform=0), "uniform: .*0"),
        (lambda: warm(4).load_state_dict(warm(5).state_dict()), r"losses .*\(5, 10\).*\(4, 10\)"),
        (lambda: warm(4).load_state_dict({}), "losses"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
