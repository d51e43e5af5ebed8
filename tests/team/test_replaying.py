"""A network asked for as a whole gives what it gives kernel by kernel, and nothing is written over.

Where there is no GPU, work is done again and not recorded: all else is the same.
"""

import copy

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, backend, kernels, nn, ops, optim
from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule, denoiser, sample_ddim
from tinydiff.kernels import again
from tinydiff.models import Classifier, UNet
from tinydiff.nn.watch import watching
from tinydiff.recording import no_grad
from tinydiff.team import diverting, team_of
from tinydiff.team import team as team_module
from tinydiff.team.replaying import AS_EVER, MOST, Replaying
from tinydiff.training import Trainer

STANDIN = backend.name == "cupy" and backend.xp.__version__.endswith("standin")
ON_GPU = backend.name == "cupy" and not STANDIN
SMALL = {"base_channels": 8, "channel_mults": (1, 2), "num_res_blocks": 1, "norm_groups": 4}
CALLS = AS_EVER + 3


@pytest.fixture(autouse=True)
def _recorder(monkeypatch):
    if not ON_GPU:
        monkeypatch.setattr(kernels, "Recorder", again.Recorder)


class Net(nn.Module):
    independent_images = True

    def __init__(self):
        self.conv, self.norm = nn.Conv2d(2, 8, 3, padding=1), nn.GroupNorm(2, 8, silu=True)
        self.head, self.unused = nn.Linear(8, 3), nn.Linear(2, 2)
        self.calls = 0

    def forward(self, x, scale=None):
        object.__setattr__(self, "calls", self.calls + 1)
        h = ops.global_avg_pool2d(self.norm(self.conv(x)))
        h = self.head(h)
        return h if scale is None else h * scale


def pictures(rng, n=4):
    return asarray(rng.standard_normal((n, 6, 6, 2)).astype(np.float32))


def unet(**settings):
    td.seed(2)
    net = UNet(2, **SMALL, **settings)
    rng = np.random.default_rng(1)
    for p in net.parameters():
        p.data += asarray(0.1 * rng.standard_normal(p.shape).astype(np.float32))
    return net


def records(replaying, module):
    return replaying._records[module]._records


def gradients(model, *inputs):
    """The answer, and the gradients of Σ answer³ for the parameters and the first input."""
    model.zero_grad()
    x = Tensor(inputs[0], requires_grad=True)
    y = model(x, *inputs[1:])
    (y * y * y).sum().backward()
    found = {k: p.grad for k, p in model.named_parameters()} | {"x": x.grad, "y": y.data}
    return {k: None if g is None else to_numpy(g).copy() for k, g in found.items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, expected in one.items():
        if expected is None:
            assert other[name] is None, name
        else:
            # On a GPU cuBLAS may choose another kernel, which adds up in another order.
            size = np.abs(expected).max()
            np.testing.assert_allclose(other[name], expected, rtol=0, atol=2e-5 * size + 1e-7)


def test_team_of_gives_one_on_a_gpu():
    assert isinstance(team_of(Net()), Replaying) == (backend.name == "cupy")


def test_values_and_gradients_are_those_of_kernel_by_kernel(rng):
    model = Net()
    replaying = Replaying(model)
    for _ in range(CALLS):
        x = pictures(rng)
        expected = gradients(model, x)
        with replaying:
            assert_same(expected, gradients(model, x))
    assert expected["unused.weight"] is None
    assert replaying.refused() == []
    assert len(records(replaying, model)) == 1


def test_it_is_recorded_once_and_only_when_asked_again(rng):
    model = Net()
    with Replaying(model) as replaying, no_grad():
        for call in range(AS_EVER):
            model(Tensor(pictures(rng)))
            assert model.calls == call + 1
            assert len(records(replaying, model)) == 0
        model(Tensor(pictures(rng)))
        assert len(records(replaying, model)) == 1
        if ON_GPU:
            for _ in range(3):
                model(Tensor(pictures(rng)))
            assert model.calls == AS_EVER + 1


COND = {
    "none": ({}, lambda rng, n: None),
    "labels": ({"num_classes": 3}, lambda rng, n: rng.integers(4, size=n)),
    "vectors": ({"embedding": 5}, lambda rng, n: rng.standard_normal((n, 5))),
    "maps": ({"map_classes": 3}, lambda rng, n: rng.integers(4, size=(n, 8, 8))),
    "captions": (
        {"text": {"vocabulary": 9, "length": 4, "width": 8, "heads": 2}},
        lambda rng, n: np.concatenate([rng.integers(2, 9, (n, 2)), np.zeros((n, 2), int)], 1),
    ),
}


@pytest.mark.parametrize("told", COND)
@pytest.mark.parametrize("recompute", [False, True])
def test_unets(rng, told, recompute):
    settings, cond = COND[told]
    model = unet(**settings, recompute=recompute)
    with Replaying(model) as replaying:
        pass
    for _ in range(CALLS):
        x = rng.standard_normal((3, 8, 8, 2)).astype(np.float32)
        inputs = x, rng.integers(1000, size=3), cond(rng, 3)
        expected = gradients(model, *inputs)
        with replaying:
            assert_same(expected, gradients(model, *inputs))
    assert replaying.refused() == []
    assert len(records(replaying, model)) == 1


def test_labels_are_still_looked_at(rng):
    model = unet(num_classes=3)
    x = pictures(rng, 2)[:, :4, :4]
    with Replaying(model), no_grad():
        for _ in range(CALLS):
            model(x, np.array([1, 2]), np.array([0, 3]))
        with pytest.raises(ValueError, match="runs from 0 to 4"):
            model(x, np.array([1, 2]), np.array([0, 4]))


def training(replay: bool, **settings):
    td.seed(3)
    model = UNet(1, num_classes=10, **SMALL, **settings)
    process = GaussianDiffusion(NoiseSchedule.cosine(100), "v")
    rng = np.random.default_rng(5)
    batches = [
        (rng.standard_normal((4, 8, 8, 1)).astype(np.float32).clip(-1, 1), rng.integers(10, size=4))
        for _ in range(8)
    ]
    ema = optim.EMA(model)
    trainer = Trainer(
        model,
        lambda x, y: process.training_loss(model, x, cond=y),
        batches,
        optim.AdamW(model.parameters(), lr=1e-3),
        ema=ema,
        clip=1.0,
    )
    trainer._team = Replaying(model if replay else nn.Module())
    losses = [record.loss for record in trainer.run(until=8)]
    weights = {k: to_numpy(p.data) for k, p in model.named_parameters()}
    return weights | {"losses": np.array([float(x) for x in losses])}, trainer


def test_training(rng):
    expected, _ = training(replay=False)
    found, trainer = training(replay=True)
    assert len(records(trainer._team, trainer.model)) == 1
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-4)
    for name, weights in expected.items():
        assert np.median(abs(found[name] - weights)) < 1e-6, name


def test_gradients_that_are_there_are_added_to(rng):
    """Each way: at home with an optimiser, and wherever they are without one."""
    for optimiser in (None, optim.SGD):
        model = Net()
        if optimiser is not None:
            optimiser(model.parameters(), lr=1.0)
        x, again_x = pictures(rng), pictures(rng)
        one, other = gradients(model, x), gradients(model, again_x)
        model.zero_grad()
        with Replaying(model):
            for _ in range(CALLS):
                gradients(model, x)
            gradients(model, x)
            y = model(Tensor(again_x))
            (y * y * y).sum().backward()  # the gradients of x are still there
        found = {k: p.grad for k, p in model.named_parameters()}
        for name, gradient in found.items():
            if one[name] is not None:
                total = one[name] + other[name]
                np.testing.assert_allclose(to_numpy(gradient), total, atol=1e-5, rtol=1e-4)


def test_two_calls_before_the_way_back(rng):
    """The second must leave the first one's values alone."""
    model = Net()
    x, z = pictures(rng), pictures(rng)
    model.zero_grad()
    (model(Tensor(x)).sum() * 2 + (model(Tensor(z)) ** 2).sum()).backward()
    expected = {k: p.grad.copy() for k, p in model.named_parameters() if p.grad is not None}
    with Replaying(model):
        for _ in range(CALLS):
            model.zero_grad()
            one, other = model(Tensor(x)), model(Tensor(z))
            (one.sum() * 2 + (other**2).sum()).backward()
    for name, parameter in model.named_parameters():
        if name in expected:
            want = to_numpy(expected[name])
            np.testing.assert_allclose(to_numpy(parameter.grad), want, rtol=1e-4, atol=1e-5)


def test_a_graph_that_is_dropped_is_not_waited_for(rng):
    model = Net()
    with Replaying(model) as replaying:
        for _ in range(CALLS):
            y = model(Tensor(pictures(rng)))
        (record,) = records(replaying, model).values()
        assert record.is_awaited()
        del y
        assert not record.is_awaited()


def test_answers_are_the_callers_own(rng):
    model = Net()
    with Replaying(model), no_grad():
        answers = [model(Tensor(pictures(rng))) for _ in range(CALLS)]
        copies = [answer.numpy().copy() for answer in answers]
        model(Tensor(pictures(rng)))
    for answer, kept in zip(answers, copies, strict=True):
        np.testing.assert_array_equal(answer.numpy(), kept)


def test_walked_twice(rng):
    model = Net()
    x = pictures(rng)
    expected = gradients(model, x)
    with Replaying(model):
        for _ in range(CALLS):
            gradients(model, x)
        model.zero_grad()
        y = model(Tensor(x))
        loss = (y * y * y).sum()
        loss.backward(retain_graph=True)
        loss.backward()
    for name, parameter in model.named_parameters():
        if expected[name] is not None:
            np.testing.assert_allclose(
                to_numpy(parameter.grad), 2 * expected[name], rtol=1e-4, atol=1e-5
            )


def test_other_weights_other_answers(rng):
    """In place, as an optimiser changes them, and as new arrays."""
    model = Net()
    x = pictures(rng)
    with Replaying(model), no_grad():
        for _ in range(CALLS):
            model(Tensor(x))
        model.head.weight.data *= 2
        model.head.bias.data *= 2
        doubled = model(Tensor(x)).numpy()
        model.head.weight.data = model.head.weight.data / 2
        model.head.bias.data = model.head.bias.data / 2
        halved = model(Tensor(x)).numpy()
    np.testing.assert_allclose(doubled, 2 * halved, rtol=1e-5)


def test_other_settings_other_answers(rng):
    model = Net()
    x = pictures(rng)
    with Replaying(model) as replaying, no_grad():
        for _ in range(CALLS):
            before = model(Tensor(x)).numpy()
        model.norm.eps = 10.0
        after = model(Tensor(x)).numpy()
        assert len(records(replaying, model)) == 0
    assert abs(after - before).max() > 1e-3


def test_frozen_weights_have_no_gradients(rng):
    model = Net()
    x = pictures(rng)
    with nn.frozen(model):
        expected = gradients(model, x)
        with Replaying(model):
            for _ in range(CALLS):
                assert_same(expected, gradients(model, x))
    assert expected["conv.weight"] is None
    assert expected["x"] is not None


def test_as_many_records_are_kept_as_are_of_use(rng):
    model = Net()
    with Replaying(model) as replaying, no_grad():
        for n in range(1, MOST + 3):
            for _ in range(CALLS):
                model(Tensor(pictures(rng, n)))
        assert len(records(replaying, model)) == MOST


def test_dropout_is_computed_as_ever(rng):
    model = Classifier(1, 10, widths=(8, 8), norm_groups=2, dropout=0.5)
    x = rng.standard_normal((4, 8, 8, 1)).astype(np.float32)
    with Replaying(model) as replaying:
        answers = [model(Tensor(x)).numpy() for _ in range(CALLS)]
        if ON_GPU:
            assert "dropout" in replaying.refused()[0]
    for answer in answers[1:]:
        assert abs(answer - answers[0]).max() > 1e-3


def test_what_needs_the_host_is_computed_as_ever(rng):
    class Careful(Net):
        def forward(self, x, scale=None):
            return super().forward(x * asarray(np.full((1, 1, 1, 2), 2.0)), scale)

    model = Careful()
    with Replaying(model) as replaying, no_grad():
        for _ in range(CALLS):
            x = pictures(rng)
            found = model(Tensor(x)).numpy()
            np.testing.assert_allclose(found, model.forward(Tensor(x)).numpy(), rtol=1e-4)
        if ON_GPU:
            assert "sent to the device" in replaying.refused()[0]


def test_those_who_look_on_see_all(rng):
    model, seen = Net(), []
    with Replaying(model), no_grad():
        for _ in range(CALLS):
            model(Tensor(pictures(rng)))
        with watching(lambda module, output: seen.append(module)):
            model(Tensor(pictures(rng)))
    assert model.conv in seen
    assert seen[-1] is model


def test_sampling(rng, monkeypatch):
    model = unet().eval()
    schedule = NoiseSchedule.cosine(20)
    process = GaussianDiffusion(schedule, "v")
    noise = asarray(rng.standard_normal((2, 8, 8, 2)).astype(np.float32))

    def last(kind):
        monkeypatch.setattr(team_module, "_kind", kind)
        diverting._living.clear()
        *_, x = sample_ddim(denoiser(model, process), noise, schedule, steps=10)
        return to_numpy(x)

    class Never(Replaying):
        def _useful(self):
            return False

    np.testing.assert_allclose(last(Replaying), last(Never), atol=1e-4)


def test_a_copy_replays_on_its_own(rng):
    _, trainer = training(replay=True)
    twin = copy.deepcopy(trainer)
    assert twin._team is not trainer._team
    assert twin._team.model is twin.model
