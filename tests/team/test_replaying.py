"""A network asked for as a whole gives what it gives kernel by kernel, and nothing is written over.

Where there is no GPU, work is done again and not recorded: all else is the same.
"""

import contextlib
import copy
import functools
import gc
import threading
import time

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, backend, kernels, nn, ops, optim
from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule, denoiser, sample_ddim
from tinydiff.kernels import again
from tinydiff.models import Classifier, UNet
from tinydiff.nn.watch import watching
from tinydiff.ops.relu import relu_rule
from tinydiff.recording import no_grad
from tinydiff.team import diverting, team_of
from tinydiff.team import replaying as replaying_module
from tinydiff.team.replaying import AS_EVER, MOST, Replaying
from tinydiff.tensor import grad
from tinydiff.training import Trainer

STANDIN = backend.name == "cupy" and backend.xp.__version__.endswith("standin")
ON_GPU = backend.name == "cupy" and not STANDIN
SMALL = {"base_channels": 8, "channel_mults": (1, 2), "num_res_blocks": 1, "norm_groups": 4}
CALLS = AS_EVER + 3


@pytest.fixture(autouse=True)
def _recorder(monkeypatch):
    if not ON_GPU:
        monkeypatch.setattr(kernels, "Recorder", again.Recorder)


@pytest.fixture
def plays(monkeypatch):
    """One entry for each call that was replayed"""
    found, play = [], replaying_module._Record.play

    def counted(self, inputs):
        found.append(self)
        return play(self, inputs)

    monkeypatch.setattr(replaying_module._Record, "play", counted)
    return found


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
    replaying = Replaying(model)
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


def diffusion_loss(process, model, x, y):
    return process.training_loss(model, x, cond=y)


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
        functools.partial(diffusion_loss, process, model),
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


@pytest.mark.parametrize("optimiser", [None, optim.SGD])
def test_gradients_that_are_there_are_added_to(rng, plays, optimiser):
    """Each way: at home with an optimiser, and wherever they are without one; also while a record
    is made, which therefore waits for gradients to begin anew."""
    model = Net()
    if optimiser is not None:
        optimiser(model.parameters(), lr=1.0)
    several = [pictures(rng) for _ in range(3)]
    one_by_one = [gradients(model, x) for x in several]
    with Replaying(model):
        for _ in range(CALLS):
            model.zero_grad()
            for x in several:
                y = model(Tensor(x, requires_grad=True))
                (y * y * y).sum().backward()
            for name, parameter in model.named_parameters():
                if one_by_one[0][name] is not None:
                    total = sum(found[name] for found in one_by_one)
                    found = to_numpy(parameter.grad)
                    np.testing.assert_allclose(found, total, atol=1e-5, rtol=1e-4, err_msg=name)
    assert len(plays) >= CALLS


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


def test_walked_twice(rng, plays):
    model = Net()
    x = pictures(rng)
    expected = gradients(model, x)
    with Replaying(model):
        for _ in range(CALLS):
            gradients(model, x)
        replayed = len(plays)
        model.zero_grad()
        y = model(Tensor(x, requires_grad=True))
        loss = (y * y * y).sum()
        (gradient,) = grad(loss, [model.conv.weight], retain_graph=True)
        loss.backward(retain_graph=True)
        loss.backward()
    assert len(plays) == replayed + 1
    np.testing.assert_allclose(to_numpy(gradient), expected["conv.weight"], rtol=1e-4, atol=1e-5)
    for name, parameter in model.named_parameters():
        if expected[name] is not None:
            np.testing.assert_allclose(
                to_numpy(parameter.grad), 2 * expected[name], rtol=1e-4, atol=1e-5
            )


def test_what_a_subclass_does_to_the_answer(rng):
    class Half(UNet):
        def forward(self, x, t, cond=None):
            return super().forward(x, t, cond) * 0.5

    td.seed(1)
    model = Half(2, **SMALL)
    for p in model.parameters():
        p.data += 0.1
    x, t = pictures(rng, 2)[:, :4, :4], np.array([1, 2])
    expected = model.forward(x, t).numpy()
    with Replaying(model), no_grad():
        for _ in range(CALLS):
            np.testing.assert_allclose(model(x, t).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(STANDIN, reason="the stand-in's kernels are for one thread at a time")
def test_threads_do_not_take_each_others_answers(rng, plays):
    class Slow(Net):
        def forward(self, x, scale=None):
            time.sleep(1e-3)
            return super().forward(x, scale)

    model = Slow()
    batches = [pictures(rng) for _ in range(4)]
    expected = [model.forward(Tensor(x)).numpy() for x in batches]
    differences = []

    def ask(which):
        with no_grad():
            for _ in range(10):
                found = model(Tensor(batches[which])).numpy()
                differences.append(abs(found - expected[which]).max())

    with Replaying(model):
        threads = [threading.Thread(target=ask, args=(which,)) for which in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(differences) == 40
    assert max(differences) < 1e-4
    assert plays


def test_a_recording_that_fails_leaves_the_random_stream(rng, monkeypatch):
    class Refusing(again.Recorder):
        def record(self, work):
            super().record(work)
            raise RuntimeError("no")

    class Noisy(Net):
        def forward(self, x, scale=None):
            return super().forward(x + Tensor(backend.randn(x.shape)), scale)

    monkeypatch.setattr(kernels, "Recorder", Refusing)
    model, x = Noisy(), pictures(rng)
    td.seed(5)
    expected = [model.forward(Tensor(x)).numpy() for _ in range(CALLS)]
    td.seed(5)
    with Replaying(model) as replaying:
        found = [model(Tensor(x)).numpy() for _ in range(CALLS)]
    np.testing.assert_array_equal(found, expected)
    assert replaying.refused() == ["RuntimeError: no"]


def test_relus_rule_goes_around_the_whole_or_is_refused(rng, plays):
    class Rectified(Net):
        def forward(self, x, scale=None):
            return super().forward(ops.relu(x), scale)

    model, x = Rectified(), pictures(rng)

    def guided():
        z = Tensor(x, requires_grad=True)
        with relu_rule("guided"):
            return to_numpy(grad(model(z).sum(), z))

    expected = guided()
    with Replaying(model):
        for _ in range(CALLS):
            np.testing.assert_array_equal(guided(), expected)
        assert plays == []
        for _ in range(CALLS):
            z = Tensor(x, requires_grad=True)
            y = model(z)
        assert plays
        with relu_rule("guided"), pytest.raises(RuntimeError, match="around the forward pass"):
            y.sum().backward()


def test_more_shapes_than_are_kept_are_not_recorded_over_and_over(rng, monkeypatch):
    made = []

    class Counting(kernels.Recorder):
        def __init__(self):
            super().__init__()
            made.append(self)

    monkeypatch.setattr(kernels, "Recorder", Counting)
    model = Net()
    with Replaying(model), no_grad():
        for _ in range(40):
            for n in range(1, MOST + 2):
                model(Tensor(pictures(rng, n)))
    assert MOST < len(made) < 4 * (MOST + 1)


def test_memory_is_given_back_with_the_records(rng, monkeypatch):
    closed = []

    class Closing(kernels.Recorder):
        def close(self):
            super().close()
            closed.append(self)

    monkeypatch.setattr(kernels, "Recorder", Closing)
    model = Net()
    with Replaying(model) as replaying:
        for _ in range(CALLS):
            gradients(model, pictures(rng))
        assert closed == []
        with contextlib.suppress(MemoryError), replaying:
            raise MemoryError
        gc.collect()
        assert len(closed) == 1
        gradients(model, pictures(rng))


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


def test_sampling(rng, monkeypatch, plays):
    model = unet().eval()
    schedule = NoiseSchedule.cosine(20)
    process = GaussianDiffusion(schedule, "v")
    noise = asarray(rng.standard_normal((2, 8, 8, 2)).astype(np.float32))

    class Never(Replaying):
        def _useful(self):
            return False

    def last(kind):
        monkeypatch.setattr(diverting.Diverting, "chosen", kind)
        diverting._living.clear()
        *_, x = sample_ddim(denoiser(model, process), noise, schedule, steps=10)
        return to_numpy(x)

    expected = last(Never)
    assert plays == []
    np.testing.assert_allclose(last(Replaying), expected, atol=1e-4)
    assert len(plays) == 10 - AS_EVER


def test_a_copy_replays_on_its_own(rng, monkeypatch, plays):
    monkeypatch.setattr(diverting.Diverting, "chosen", Replaying)
    _, trainer = training(replay=True)
    twin = copy.deepcopy(trainer)
    assert twin._team is not trainer._team
    assert twin._team.model is twin.model
    plays.clear()
    twin.batches = trainer.batches * 2
    assert len(list(twin.run(until=12))) == 4
    assert len(plays) == 4 - AS_EVER
