"""A batch that is shared out among processes gives what it gives in one."""

import contextlib
import copy
import functools
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, adversarial, backend, nn, ops, optim
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule, denoiser, sample_ddpm
from tinydiff.kernels import workers
from tinydiff.models import Classifier, UNet
from tinydiff.nn.watch import watching
from tinydiff.recording import no_grad
from tinydiff.team import Team, helper, team_of
from tinydiff.team import team as team_module
from tinydiff.team.line import Line
from tinydiff.tensor import op
from tinydiff.training import Trainer

SMALL = {"base_channels": 8, "channel_mults": (1, 2), "num_res_blocks": 1, "norm_groups": 4}


class Net(nn.Module):
    """A bit of everything whose images are independent; says how often it was called here."""

    independent_images = True

    def __init__(self, p=0.0):
        self.conv, self.norm = nn.Conv2d(2, 8, 3, padding=1), nn.GroupNorm(2, 8, silu=True)
        self.dropout, self.head = nn.Dropout(p), nn.Linear(8, 3)
        self.unused = nn.Linear(2, 2)
        self.calls = []

    def forward(self, x, scale=None):
        x = x if isinstance(x, Tensor) else Tensor(x)
        self.calls.append(len(x))
        h = ops.global_avg_pool2d(self.dropout(self.norm(self.conv(x))))
        h = self.head(h)
        return h if scale is None else h * scale


def unet(**settings):
    td.seed(2)
    net = UNet(2, num_classes=3, **SMALL, **settings).astype(np.float64)
    rng = np.random.default_rng(1)
    for p in net.parameters():
        p.data += 0.1 * rng.standard_normal(p.shape)
    return net


def batch(rng, n):
    x = rng.standard_normal((n, 8, 8, 2))
    return x, rng.integers(1000, size=n), rng.integers(4, size=n)


def gradients(model, *inputs, weight=1.0):
    """The output for the inputs, and the gradients of Σ weight·output³, from the same seed."""
    td.seed(7)
    model.zero_grad()
    output = model(*inputs)
    ((output * output * output) * weight).sum().backward()
    found = {k: None if p.grad is None else p.grad.copy() for k, p in model.named_parameters()}
    return output.numpy(), found


def assert_close(one, other, tolerance=1e-12):
    np.testing.assert_allclose(one[0], other[0], rtol=tolerance, atol=tolerance)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        if gradient is None:
            assert other[1][name] is None
        else:
            size = np.abs(gradient).max()
            np.testing.assert_allclose(other[1][name], gradient, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("settings", [{}, {"recompute": True}, {"dropout": 0.3}])
def test_values_and_gradients_are_those_of_one_process(processes, rng, number, settings):
    processes(number)
    net, inputs = unet(**settings), batch(rng, 7)
    alone = gradients(net, *inputs)
    with Team(net) as team:
        together = gradients(net, *inputs)
        assert len(team._helpers) == number - 1
        again = gradients(net, *inputs)
    assert_close(alone, together)
    assert (together[0] == again[0]).all()
    assert all((g == again[1][k]).all() for k, g in together[1].items() if g is not None)


@pytest.mark.parametrize("number", [2, 3])
def test_captions_are_shared_out_too(processes, rng, number):
    processes(number)
    td.seed(2)
    text = {"vocabulary": 9, "length": 5, "width": 8, "depth": 1, "heads": 2}
    net = UNet(2, text=text, **SMALL).astype(np.float64)
    for p in net.parameters():
        p.data += 0.1 * rng.standard_normal(p.shape)
    x, t, _ = batch(rng, 7)
    inputs = x, t, rng.integers(1, 9, (7, 5))
    alone = gradients(net, *inputs)
    with Team(net) as team:
        together = gradients(net, *inputs)
        assert len(team._helpers) == number - 1
    for side in (alone, together):  # changes no softmax: its gradient is rounding
        assert np.abs(side[1].pop("text.blocks.0.attention.key.bias")).max() < 1e-12
    assert_close(alone, together)


def test_dropout_in_recomputed_blocks(processes, rng):
    net, inputs = unet(dropout=0.3, recompute=True), batch(rng, 5)
    alone = gradients(net, *inputs)
    with Team(net):
        assert_close(alone, gradients(net, *inputs))


def test_the_random_stream_moves_on_as_in_one_process(processes, rng):
    net, x = Net(p=0.5), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    td.seed(3)
    net(x)
    after = backend.rng.random()
    td.seed(3)
    with Team(net):
        net(x)
    assert backend.rng.random() == after


def test_our_share_is_all_that_is_computed_here(processes, rng):
    net, x = Net(), rng.standard_normal((5, 4, 4, 2), dtype=np.float32)
    with Team(net):
        assert net(x).shape == (5, 3)
    assert net.calls == [2]


def threads() -> int:
    """How many threads a large job would get now"""
    return workers.threads_for(1 << 30)


def test_while_helpers_compute_there_is_one_thread_a_process(processes, rng):
    @op
    def counting(x):
        """x · (how many threads there are), and likewise back"""
        return x * threads(), (lambda g: g * threads(),)

    class Counting(Net):
        def forward(self, x):
            return counting(x)

    processes(3)
    x = Tensor(rng.standard_normal((6, 2)), requires_grad=True)
    with Team(Counting()) as team:
        for _ in range(2):
            y = team.model(x)
            assert (y.data == x.data).all() and threads() == 3
            assert (td.grad(y.sum(), x) == 1).all() and threads() == 3


def test_a_fork_has_all_cores_for_itself(processes, rng):
    here = os.getpid()

    class Forking(Net):
        def forward(self, x):
            if os.getpid() == here:
                assert threads() == 1  # the helper is at work
                child = os.fork()
                if child == 0:
                    os._exit(threads())
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
            return super().forward(x)

    net = Forking()
    with Team(net):
        net(rng.standard_normal((6, 4, 4, 2), dtype=np.float32))


@pytest.mark.parametrize("retain_graph", [False, True])
def test_a_graph_is_freed_as_it_is_walked_unless_retained(processes, rng, retain_graph):
    class Thing:
        pass

    alive = weakref.WeakSet()

    @op
    def keeping(x):
        thing = Thing()
        alive.add(thing)
        return x * 1.0, (lambda g, kept=thing: g,)

    @op
    def counting(x):
        return x * 1.0, (lambda g: g * len(alive),)

    class Pair(Net):
        def forward(self, x):
            return keeping(counting(x))

    x = Tensor(rng.standard_normal((6, 2)), requires_grad=True)
    with Team(Pair()) as team:
        y = team.model(x).sum()
    for _ in range(2 if retain_graph else 1):
        # Backward comes to `counting` when it is done with `keeping`.
        assert (td.grad(y, x, retain_graph=retain_graph) == retain_graph).all()


def test_a_helper_does_not_bury_what_died_here(processes, rng, tmp_path):
    class Grave:
        """A cycle, which stays until the garbage is collected, and says who did that"""

        def __init__(self):
            self.itself = self

        def __del__(self):
            (tmp_path / str(os.getpid())).touch()

    class Collecting(Net):
        def forward(self, x):
            if os.getpid() != here:
                gc.collect()
            return super().forward(x)

    here, net = os.getpid(), Collecting()
    gc.disable()
    try:
        Grave()
        with Team(net):
            net(rng.standard_normal((6, 4, 4, 2), dtype=np.float32))
    finally:
        gc.enable()
    assert list(tmp_path.iterdir()) == []
    gc.collect()
    assert list(tmp_path.iterdir()) == [tmp_path / str(here)]


def test_gradients_of_inputs(processes, rng):
    net = Net().astype(np.float64)
    arrays = rng.standard_normal((5, 4, 4, 2)), rng.standard_normal((5, 1))

    def run():
        x, scale = (Tensor(a, requires_grad=True) for a in arrays)
        hidden = x * 2  # not a leaf
        gradient = td.grad((net(hidden, scale) ** 3).sum(), [x, scale, hidden])
        assert all(p.grad is None for p in net.parameters())
        return gradient

    alone = run()
    with Team(net):
        together = run()
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12)


def test_two_calls_in_one_graph_and_a_graph_walked_twice(processes, rng):
    net = Net().astype(np.float64)
    x, y = rng.standard_normal((2, 5, 4, 4, 2))

    def run():
        net.zero_grad()
        loss = (net(x) * net(y)).sum()
        loss.backward(retain_graph=True)
        loss.backward()
        return {k: None if p.grad is None else p.grad.copy() for k, p in net.named_parameters()}

    alone = run()
    with Team(net):
        together = run()
    assert_close((0.0, alone), (0.0, together))


def test_a_graph_that_was_not_kept_is_walked_once(processes, rng):
    net = Net()
    with Team(net):
        y = net(rng.standard_normal((5, 4, 4, 2), dtype=np.float32)).sum()
        y.backward()
        with pytest.raises(RuntimeError, match="walked before"):
            y.backward()


def test_what_is_frozen_gets_no_gradient(processes, rng):
    net, inputs = unet(), batch(rng, 5)
    with Team(net):
        gradients(net, *inputs)
        net.down.requires_grad_(False)
        together = gradients(net, *inputs)
        net.requires_grad_(False)
        assert not net(*inputs).requires_grad
        net.requires_grad_(True)
        everything = gradients(net, *inputs)
    net.down.requires_grad_(False)
    assert_close(gradients(net, *inputs), together)
    net.requires_grad_(True)
    assert_close(gradients(net, *inputs), everything)


def test_helpers_see_every_change_of_the_model(processes, rng):
    net, inputs = unet(dropout=0.2), batch(rng, 5)

    def change_and_compare(team, restarted: bool):
        before = [h._process for h in team._helpers]
        together = gradients(net, *inputs)
        after = [h._process for h in team._helpers]
        assert (before != after) == restarted
        team.__exit__()
        assert_close(gradients(net, *inputs), together)
        team.__enter__()

    with Team(net) as team:
        gradients(net, *inputs)
        change_and_compare(team, restarted=False)
        net.eval()
        change_and_compare(team, restarted=False)
        net.train()
        net.stem.weight.data *= 1.5  # in place: they look at the same memory
        change_and_compare(team, restarted=False)
        net.load_state_dict({k: 0.9 * v for k, v in net.state_dict().items()})
        change_and_compare(team, restarted=False)
        net.stem.bias.data = net.stem.bias.data + 1.0  # another array
        change_and_compare(team, restarted=True)
        net.recompute = True
        change_and_compare(team, restarted=True)
        net.middle[0].dropout.p = 0.6
        change_and_compare(team, restarted=True)
        del net.recompute
        net.recompute = False
        change_and_compare(team, restarted=True)
        optimiser = optim.Adam(net.parameters())  # which moves the parameters
        change_and_compare(team, restarted=True)
        average = optim.EMA(net)
        gradients(net, *inputs)
        optimiser.step()
        change_and_compare(team, restarted=False)
        with average.swapped():
            change_and_compare(team, restarted=False)


def test_nothing_is_recorded_without_gradients(processes, rng):
    net = Net()
    x = rng.standard_normal((5, 4, 4, 2), dtype=np.float32)
    with Team(net), no_grad():
        y = net(x)
    assert not y.requires_grad
    np.testing.assert_allclose(y.numpy(), net(x).numpy(), rtol=1e-5, atol=1e-6)


def test_helpers_forget_what_no_backward_will_come_for(processes, rng):
    net = Net()
    x = rng.standard_normal((5, 4, 4, 2), dtype=np.float32)
    with Team(net) as team:
        y = net(x)
        assert team._helpers[0].forgotten == []
        del y
        gc.collect()
        assert team._helpers[0].forgotten == [1]
        net(x).sum().backward()
        assert team._helpers[0].forgotten == [2]


def anonymous_memory(process: int) -> int:
    """In kilobytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def test_forgotten_graphs_are_freed(processes, rng):
    net, x = Net(), rng.standard_normal((8, 64, 64, 2), dtype=np.float32)
    with Team(net) as team:
        for _ in range(3):
            net(x)
        before = anonymous_memory(team._helpers[0]._process)
        for _ in range(20):  # each graph keeps about a megabyte
            net(x)
        assert anonymous_memory(team._helpers[0]._process) < before + 5_000


def test_a_backward_that_was_broken_off_does_no_harm(processes, rng):
    here, broken = os.getpid(), True

    @op
    def fragile(x):
        def rule(g):
            if broken and os.getpid() == here:
                raise ZeroDivisionError
            return g

        return x.copy(), (rule,)

    class Fragile(Net):
        def forward(self, x):
            return super().forward(fragile(x))

    net, x = Fragile(), Tensor(rng.standard_normal((6, 4, 4, 2)), requires_grad=True)
    net.astype(np.float64)
    with Team(net):
        with pytest.raises(ZeroDivisionError):
            net(x).sum().backward()
        assert threads() == 2  # nobody waits for the helper any more
        broken = False
        together = gradients(net, x)
    assert_close(gradients(net, x), together)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("given", [np.asarray, lambda a: Tensor(a, requires_grad=True)])
def test_an_input_that_the_network_does_not_look_at(processes, rng, frozen, given):
    class Blind(Net):
        def forward(self, x, ignored):
            return super().forward(x)

    net = Blind().requires_grad_(not frozen)
    x = given(rng.standard_normal((5, 4, 4, 2), dtype=np.float32))
    ignored = Tensor(np.ones((5, 3), np.float32), requires_grad=True)
    with Team(net):
        y = net(x, ignored).sum()
    if frozen and not isinstance(x, Tensor):
        with pytest.raises(ValueError, match="does not depend on any tensor that requires grad"):
            td.grad(y, ignored)
    else:
        assert (td.grad(y, ignored, retain_graph=True) == np.zeros((5, 3))).all()
        y.backward()
        assert ignored.grad is None


@pytest.mark.parametrize("frozen", [False, True])
def test_what_only_one_share_looks_at(processes, rng, frozen):
    class Two(nn.Module):
        independent_images = True

        def __init__(self):
            self.usual, self.rare = nn.Linear(2, 3), nn.Linear(2, 3)

        def forward(self, x, scale):
            rare = np.flatnonzero(x[:, 0] > 10)
            y = self.usual(x)
            if len(rare):
                mask = np.zeros((len(x), 1))
                mask[rare] = 1
                y = y + self.rare(Tensor(x)) * (scale * mask)
            return y

    net, x = Two().astype(np.float64), rng.standard_normal((6, 2))
    net.usual.requires_grad_(not frozen)
    scale = Tensor(rng.standard_normal((6, 1)), requires_grad=True)
    processes(3)
    for image in 0, 3, 5:
        x[:, 0], x[image, 0] = 0, 11
        scale.grad = None
        alone, wanted = gradients(net, x, scale), scale.grad
        scale.grad = None
        with Team(net):
            assert_close(alone, gradients(net, x, scale))
        np.testing.assert_allclose(scale.grad, wanted)
    x[image, 0] = 0
    with Team(net):
        assert net(x, scale).requires_grad != frozen


@pytest.mark.parametrize(
    "inputs",
    [
        (np.zeros((2, 4, 4, 2), np.float32),),  # not an image for each
        (np.zeros((5, 4, 4, 2), np.float32), np.ones((1, 3), np.float32)),
        ([[[[0.0, 0.0]] * 4] * 4] * 5,),
    ],
)
def test_what_cannot_be_cut_is_computed_here(processes, inputs):
    processes(3)
    net = Net()
    with Team(net):
        assert len(net(*inputs)) == len(inputs[0])
    assert net.calls == [len(inputs[0])]


def test_small_batches_and_watched_calls_stay_here(processes, rng, monkeypatch):
    net, x = Net(), rng.standard_normal((5, 4, 4, 2), dtype=np.float32)
    shapes = []
    with Team(net):
        with watching(lambda module, output: shapes.append(output.shape)):
            net(x)
        assert shapes[0] == (5, 4, 4, 8)
        monkeypatch.setattr("tinydiff.team.team.WORTH", x.size * net.num_parameters() + 1)
        net(x)
    net(x)  # outside
    assert net.calls == [5, 5, 5]


def test_statistics_over_the_batch_are_not_shared_out(processes, rng):
    class Normalised(nn.Module):
        independent_images = True

        def __init__(self):
            self.norm = nn.BatchNorm2d(2)

        def forward(self, x):
            return self.norm(Tensor(x))

    net = Normalised()
    x = rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    with Team(net) as team:
        np.testing.assert_allclose(net(x).numpy().mean(axis=(0, 1, 2)), 0, atol=1e-6)
        assert not team._helpers


def test_a_batch_norm_that_comes_later_is_seen(processes, rng):
    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    team = Team(net)
    with team:
        net(x)
        assert len(team._helpers) == 1
    net.norm = nn.BatchNorm2d(8)
    with team:
        net(x)
    assert net.calls == [3, 6] and not team._helpers


def test_the_outermost_that_promise_are_shared_out(processes, rng):
    class Pair(nn.Module):
        def __init__(self):
            self.one, self.two = Net(), Net()

        def forward(self, x):
            assert len(x) == 6
            return self.one(x) + self.two(x)

    pair, x = Pair().astype(np.float64), rng.standard_normal((6, 4, 4, 2))
    alone = gradients(pair, x)
    with Team(pair):
        assert_close(alone, gradients(pair, x))
    assert pair.one.calls == pair.two.calls == [6, 3]


def test_an_error_is_the_one_of_one_process_and_does_no_harm(processes, rng):
    net = Net()
    x = rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    with Team(net):
        net(x)
        with pytest.raises(ValueError) as together:
            net(rng.standard_normal((6, 4, 4, 3), dtype=np.float32))
        assert threads() == 2
        assert net(x).shape == (6, 3)
    with pytest.raises(ValueError) as alone:
        net(rng.standard_normal((6, 4, 4, 3), dtype=np.float32))
    assert str(together.value).replace("3, 4, 4", "6, 4, 4") == str(alone.value)


def test_a_broken_promise_is_named(processes):
    class Mean(nn.Module):
        independent_images = True

        def __init__(self):
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(Tensor(x)).mean(axis=0)

    net = Mean()
    with Team(net), pytest.raises(TypeError, match=r"Mean promises independent_images.*\(2,\)"):
        net(np.zeros((6, 2), np.float32))


def test_an_error_that_only_a_helper_meets(processes):
    class Picky(nn.Module):
        independent_images = True

        def __init__(self):
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            if x.max() > 1:
                raise ValueError("that is too much")
            return self.layer(Tensor(x))

    net, x = Picky(), np.zeros((6, 2), np.float32)
    with Team(net):
        x[5] = 2
        with pytest.raises(RuntimeError, match="that is too much"):
            net(x)
        x[5] = 0
        assert net(x).shape == (6, 2)


def test_a_helper_that_was_killed(processes, rng):
    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    with Team(net) as team:
        y = net(x)
        os.kill(team._helpers[0]._process, signal.SIGKILL)
        time.sleep(0.1)
        with pytest.raises(RuntimeError, match="helper process"):
            y.sum().backward()
        assert net(x).shape == (6, 3)  # a new one
        net(x).sum().backward()


def test_a_graph_outlives_its_helpers_only_as_an_error(processes, rng):
    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    with Team(net):
        y = net(x)
        net.conv.weight.data = net.conv.weight.data.copy()
        net(x)
        with pytest.raises(RuntimeError, match="model was changed"):
            y.sum().backward()


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_helpers_end_with_the_team(processes, rng):
    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    team = Team(net)
    with team:
        net(x)
    (process,) = (h._process for h in team._helpers)
    assert alive(process)
    del team
    gc.collect()
    assert not alive(process)


def test_helpers_of_two_teams_end_apart(processes, rng):
    x = rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    first, second = Net(), Net()
    one, two = Team(first), Team(second)
    with one, two:
        first(x)
        second(x)
    one.close()  # the helper of the other was born after, and holds none of its lines
    with two:
        assert second(x).shape == (6, 3)
    two.close()


def test_two_threads_start_helpers_at_the_same_moment(processes, rng, monkeypatch):
    both = threading.Barrier(2)

    def line_when_both_are_there():
        made = Line()
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.5)
        return made

    monkeypatch.setattr("tinydiff.team.helper.Line", line_when_both_are_there)
    x = rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    nets = Net(), Net()
    teams = [Team(net) for net in nets]

    def start(net, team):
        with team:
            net(x)

    def close():
        for team in teams:
            team.close()

    in_threads(*(functools.partial(start, *pair) for pair in zip(nets, teams, strict=True)))
    started = [team._helpers[0]._process for team in teams]
    try:
        in_threads(close)
        assert not any(alive(process) for process in started)
    finally:
        for process in filter(alive, started):
            os.kill(process, signal.SIGKILL)


def in_threads(*functions) -> None:
    """Call all at once, and wait for them, but not forever."""
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)


def test_a_process_that_the_user_forks_computes_by_itself(processes, rng):
    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    with Team(net) as team:
        y = net(x).numpy()
        child = os.fork()
        if child == 0:
            with no_grad():
                same = np.allclose(net(x).numpy(), y, rtol=1e-5, atol=1e-6)
            with team:  # or with helpers of its own
                same &= np.allclose(net(x).numpy(), y, rtol=1e-5, atol=1e-6)
            team.close()
            os._exit(0 if same and net.calls == [3, 6, 3] else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert (net(x).numpy() == y).all()


def test_a_fork_while_a_helper_starts_has_helpers_of_its_own(processes, rng):
    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    with helper._starting:
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # rather than wait for ever
            with Team(net) as team:
                net(x)
            team.close()
            os._exit(0 if net.calls == [3] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_model_has_one_team_as_long_as_it_is_held():
    net = Net()
    team = team_of(net)
    assert team_of(net) is team
    del team
    gc.collect()
    assert isinstance(team_of(net), Team)


def test_where_no_process_can_be_had_this_one_does_it(processes, rng, monkeypatch):
    def refuse():
        raise BlockingIOError("Resource temporarily unavailable")

    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    monkeypatch.setattr(os, "fork", refuse)
    with Team(net):
        assert net(x).shape == (6, 3)
    assert net.calls == [6]


def test_recomputing_a_shared_call_by_oneself(processes, rng):
    net, x = Net().astype(np.float64), Tensor(rng.standard_normal((6, 4, 4, 2)), requires_grad=True)
    alone = gradients(net, x)
    net.zero_grad()
    with Team(net):
        y = td.checkpoint(net, x)
    (y * y * y).sum().backward()
    together = {k: p.grad for k, p in net.named_parameters()}
    # The second run, outside, reaches the parameters that the first left to the helpers to find.
    assert_close((0.0, alone[1]), (0.0, together))


def test_a_function_is_computed_as_ever(processes):
    with team_of(np.sqrt) as team:
        assert not team._modules


def test_backward_may_come_when_nobody_holds_the_team_any_more(processes, rng):
    net, x = Net().astype(np.float64), rng.standard_normal((6, 4, 4, 2))
    alone = gradients(net, x)
    net.zero_grad()
    td.seed(7)
    with team_of(net):
        output = net(x)
    gc.collect()
    (output * output * output).sum().backward()
    assert_close((0.0, alone[1]), (0.0, {k: p.grad for k, p in net.named_parameters()}))


def test_an_interrupt_between_question_and_answer(processes, rng, monkeypatch):
    net = Net()
    x, y = rng.standard_normal((2, 6, 4, 4, 2), dtype=np.float32)
    alone = net(y).numpy()

    def interrupt():
        raise KeyboardInterrupt

    with Team(net):
        net(x)
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr("tinydiff.kernels.workers.lend", interrupt)
            net(x)
        np.testing.assert_allclose(net(y).numpy(), alone, rtol=1e-5, atol=1e-6)
    assert workers._lent == 0


@pytest.mark.parametrize("frozen", [False, True])
def test_a_learned_tensor_that_helpers_cannot_answer_for(processes, rng, frozen):
    class Scaled(Net):
        def __init__(self):
            super().__init__()
            self.scale = Tensor(np.float32(2.0), requires_grad=True)  # no Parameter

        def forward(self, x):
            return super().forward(x) * self.scale

    net = Scaled()
    net.requires_grad_(not frozen)
    with Team(net), pytest.raises(TypeError, match="make it a Parameter"):
        net(rng.standard_normal((6, 4, 4, 2), dtype=np.float32))


@pytest.mark.parametrize("p", [0.0, 0.4])
def test_numbers_for_several_rows_an_image(processes, rng, p):
    class Rows(Net):
        def forward(self, x):
            rows = ops.dropout(Tensor(x).reshape(-1, 2), p=0.3)
            return super().forward(rows.reshape(*x.shape))

    net, x = Rows(p).astype(np.float64), rng.standard_normal((5, 4, 4, 2))
    alone = gradients(net, x)
    with Team(net):
        assert_close(alone, gradients(net, x))


def test_numbers_that_belong_to_no_image(processes, rng):
    class Noisy(Net):
        def forward(self, x):
            return super().forward(x) + backend.randn((1, 3))

    net = Noisy()
    with Team(net), pytest.raises(ValueError, match="promises independent_images"):
        net(rng.standard_normal((6, 4, 4, 2), dtype=np.float32))


def test_errors_of_two_helpers_do_not_outlive_their_batch(processes):
    processes(3)

    class Picky(nn.Module):
        independent_images = True

        def __init__(self):
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            if x.max() > 1:
                raise ValueError("that is too much")
            return self.layer(Tensor(x))

    net, x = Picky(), np.zeros((6, 2), np.float32)
    with Team(net):
        x[2:] = 2
        with pytest.raises(RuntimeError, match="that is too much"):
            net(x)
        x[2:] = 0
        assert net(x).shape == (6, 2)


def test_a_model_with_a_team_can_be_copied(processes, rng):
    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    with Team(net):
        y = net(x)
        twin = copy.deepcopy(net)
        np.testing.assert_allclose(twin(x).numpy(), y.numpy(), rtol=1e-5, atol=1e-6)


def train(model, loss, batches, steps=6):
    td.seed(4)
    trainer = Trainer(
        model, loss, batches, optim.AdamW(model.parameters()), ema=optim.EMA(model), clip=1.0
    )
    losses = [record.loss for record in trainer.run(until=steps)]
    return losses, trainer


def test_a_training_run(processes, rng):
    diffusion = GaussianDiffusion(NoiseSchedule.cosine(1000), "v")
    x, _, labels = batch(rng, 6)
    results = []
    for number in (1, 2, 3, 3):
        processes(number)
        net = unet(dropout=0.1)
        losses, trainer = train(
            net, lambda x, y, net=net: diffusion.training_loss(net, x, cond=y), [(x, labels)] * 6
        )
        assert len(trainer._team._helpers) == number - 1
        results.append((losses, trainer.state_dict()))
    for losses, state in results[1:]:
        np.testing.assert_allclose(losses, results[0][0], rtol=1e-9)
        for name, value in state["model"].items():
            np.testing.assert_allclose(value, results[0][1]["model"][name], rtol=0, atol=1e-6)
    (one, this), (other, that) = results[2:]
    assert one == other and this["random"] == that["random"]
    assert all((this["model"][k] == that["model"][k]).all() for k in this["model"])


def squares(net, x):
    return ops.mse_loss(net(x), Tensor(np.zeros((len(x), 3), np.float32)))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copied_trainer_goes_on_by_itself(processes, rng, copied):
    net, x = Net(p=0.2), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    loss, batches = functools.partial(squares, net), [(x,)] * 4
    _, trainer = train(net, loss, batches, steps=2)
    before = trainer.state_dict()
    twin = copied(trainer)
    ours = [record.loss for record in trainer.run(until=4)]
    assert_same_state(twin.state_dict(), before)
    assert [record.loss for record in twin.run(until=4)] == ours
    assert_same_state(twin.state_dict(), trainer.state_dict())
    assert twin._team is team_of(twin.model) and len(twin._team._helpers) == 1
    assert twin._team._helpers[0]._process != trainer._team._helpers[0]._process


def assert_same_state(one, other) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_state(one[key], other[key])
    else:
        assert np.array_equal(one, other)


def test_drawing_pictures(processes, rng):
    diffusion = GaussianDiffusion(NoiseSchedule.cosine(1000), "v")
    net, (x_T, _, labels) = unet().eval(), batch(rng, 5)

    def draw():
        denoise = denoiser(net, diffusion, labels)
        rng = np.random.default_rng(0)
        *_, x = sample_ddpm(denoise, x_T, diffusion.schedule, steps=5, rng=rng)
        return x, len(team_of(net)._helpers)

    together, helpers = draw()
    assert helpers == 1
    processes(1)
    gc.collect()
    np.testing.assert_allclose(draw()[0], together, rtol=1e-9, atol=1e-9)


def test_in_float32_with_the_fast_kernels(processes, rng):
    net = Classifier(1, 10)
    x = rng.standard_normal((12, 28, 28, 1), dtype=np.float32)
    net.eval()
    alone = gradients(net, x)
    with Team(net):
        assert_close(alone, gradients(net, x), tolerance=1e-4)


PREPARED = """
import sys
import numpy as np
from tinydiff import nn, ops, optim, Tensor
from tinydiff.kernels import workers
from tinydiff.team import team, Team
from tinydiff.training import Trainer, train
workers.THREADS, team.WORTH = 3, 0

class Net(nn.Module):
    independent_images = True
    def __init__(self):
        self.layer = nn.Linear(2, 2)
    def forward(self, x):
        return self.layer(Tensor(x))
"""

SCRIPT = """

print("said once")                      # and not flushed before the fork
net = Net()
crew = Team(net)
with crew:
    for _ in range(10**9 if "long" in sys.argv else 1):
        net(np.zeros((6, 2), np.float32))
        if _ == 0:
            print(*(h._process for h in crew._helpers), flush="long" in sys.argv)
"""


def start(script: str, *words) -> subprocess.Popen:
    """A program in a session of its own, so that a signal may go to all its processes"""
    return subprocess.Popen(
        [sys.executable, "-c", PREPARED + script, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_the_end_of_the_program_is_the_helpers_end_too():
    run = subprocess.run(
        [sys.executable, "-c", PREPARED + SCRIPT], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0 and not run.stderr
    said, helpers = run.stdout.splitlines()
    assert said == "said once"
    assert not any(alive(int(p)) for p in helpers.split())


TRAINING = """
import os, time
here, calls = os.getpid(), []

class Signalling(Net):
    def forward(self, x):
        if os.getpid() == here:
            calls.append(len(x))
            if len(calls) == 3:                 # while the helpers compute, or wait
                os.killpg(0, int(sys.argv[2]))
                time.sleep(0.3)
        return super().forward(x)

net, x = Signalling(), np.ones((6, 2), np.float32)
adam = optim.Adam(net.parameters())
trainer = Trainer(net, lambda x: ops.mse_loss(net(x), Tensor(x)), [(x,)] * 100, adam)
next(trainer.run(until=1))                      # helpers start before anyone listens for signals
for record in train(trainer, 100, sys.argv[1], save_every=100):
    print("step", record.step)
assert set(calls) == {2}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_ends_training_with_a_checkpoint(number, tmp_path):
    said, errors = start(TRAINING, tmp_path, str(int(number))).communicate(timeout=60)
    assert said == "step 2\nstep 3\n"
    assert "Stopped after step 3 of" in errors and "Traceback" not in errors
    assert td.load(tmp_path / "checkpoint.npz")["step"] == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_helpers_notice_that_nobody_is_there(number):
    run = start(SCRIPT, "long")
    assert run.stdout.readline() == "said once\n"
    helpers = [int(p) for p in run.stdout.readline().split()]
    time.sleep(0.2)
    # Ctrl-C goes to all processes at the terminal; kill -9 to one.
    try:
        for _ in range(20):
            if number == signal.SIGINT:
                os.killpg(run.pid, number)
            else:
                run.kill()
            # Python loses an interrupt that comes while it frees an object ("Exception ignored").
            with contextlib.suppress(subprocess.TimeoutExpired):
                _, errors = run.communicate(timeout=5)
                break
    finally:
        run.kill()
    seen = errors.count("Traceback") - errors.count("Exception ignored")
    assert seen == (1 if number == signal.SIGINT else 0)
    end = time.monotonic() + 10
    while any(alive(p) for p in helpers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(p) for p in helpers)


def test_attacks_in_a_loss_are_computed_by_the_trainers_helpers(processes, monkeypatch):
    """One team for a network, whatever goes around it; the same weights as in one process."""
    started = []
    monkeypatch.setattr(
        team_module, "Helper", lambda *args: started.append(args) or helper.Helper(*args)
    )
    rng = np.random.default_rng(0)
    x, y = rng.random((4, 6, 6, 1)), np.arange(4) % 3
    weights = []
    for number in (1, 2):
        processes(number)
        td.seed(0)
        network = Classifier(1, 3, widths=(8, 8)).astype(np.float64)
        model = adversarial.on_pictures(network)

        def loss(x, y, model=model):
            return ops.cross_entropy(model(adversarial.pgd(model, x, y, eps=0.1, steps=2)), y)

        optimiser = optim.SGD(network.parameters(), lr=0.1)
        for _ in Trainer(network, loss, [(x, y)] * 3, optimiser).run(until=3):
            pass
        weights.append(network.state_dict())
        assert len(started) == number - 1
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, atol=1e-12)


def test_one_attack_after_another_is_computed_by_the_same_helpers(processes, rng, monkeypatch):
    """Until another network is attacked: then the first one's helpers end, and it is let go."""
    started = []
    monkeypatch.setattr(
        team_module, "Helper", lambda *args: started.append(helper.Helper(*args)) or started[-1]
    )
    x, y = rng.random((4, 6, 6, 1)), np.arange(4) % 3
    first, second = (Classifier(1, 3, widths=(8, 8)).astype(np.float64) for _ in range(2))
    for model in (first, adversarial.on_pictures(first)):
        adversarial.pgd(model, x, y, eps=0.1, steps=2)
    assert len(started) == 1
    adversarial.pgd(second, x, y, eps=0.1, steps=2)
    assert len(started) == 2
    assert started[0].lost and not started[1].lost
    seen = weakref.ref(first)
    del first, model
    gc.collect()
    assert seen() is None


@pytest.fixture
def asked(monkeypatch):
    """Grows by one with each question to a helper."""
    questions, ask = [], helper.Helper.ask

    def counting(*args):
        questions.append(args)
        return ask(*args)

    monkeypatch.setattr(helper.Helper, "ask", counting)
    return questions


def descend(net, x, scale=None, *, steps, rate=0.5):
    """Many steps with the same images: x ← x − rate·∂/∂x Σ net(x)²"""
    for _ in range(steps):
        x = Tensor(x, requires_grad=True)
        y = net(x) if scale is None else net(x, scale)
        x = x.data - rate * td.grad((y * y).sum(), x)
    return Tensor(x)


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("scaled", [False, True])
def test_each_process_takes_all_steps_with_its_images(processes, rng, asked, number, scaled):
    """p > 0: chance is drawn for each image of the whole batch, whoever computes it."""
    net = Net(p=0.3).astype(np.float64)
    x, scale = rng.standard_normal((7, 4, 4, 2)), rng.random((7, 1)) if scaled else None
    found, states = [], []
    for count in (1, number):
        processes(count)
        td.seed(3)
        net.calls.clear()
        with Team(net) as team:
            found.append(team.share(descend, net, (x, scale), {"steps": 4}).numpy())
        states.append(backend.rng.random())
        assert net.calls == [7 // count] * 4
    assert len(asked) == number - 1
    assert states[0] == states[1]
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-12)
    assert not np.allclose(found[0], x)


def test_what_is_no_module_of_the_team_is_shared_out_step_by_step(processes, rng, asked):
    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    around = nn.Sequential(net)
    alone = descend(around, x, steps=2).numpy()
    with Team(net) as team:
        found = team.share(descend, around, (x,), {"steps": 2}).numpy()
    assert len(asked) == 4 and net.calls == [6, 6, 3, 3]
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)


def test_what_is_watched_is_computed_here_as_a_whole(processes, rng, asked):
    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    seen = []
    with Team(net) as team, watching(lambda module, output: seen.append(module)):
        team.share(descend, net, (x,), {"steps": 2})
    assert not asked and seen.count(net) == 2


def test_a_function_must_be_found_by_its_name(processes, rng):
    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)

    def inside(net, x):
        return net(x)

    wrong = r"test_team:test_a_function.*<locals>.inside is not found by its name"
    for number in (1, 2):
        processes(number)
        with Team(net) as team:
            with pytest.raises(ValueError, match=wrong):
                team.share(inside, net, (x,), {})
            with pytest.raises(ValueError, match="lambda> is not found by its name"):
                team.share(lambda net, x: net(x), net, (x,), {})


def mean(net, x):
    return net(x).mean()


def picky(net, x):
    if x.max() > 9:
        raise ValueError("that is too much")
    return net(x)


def test_errors_of_a_shared_function(processes, rng):
    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    with Team(net) as team:
        with pytest.raises(TypeError, match=r"test_team:mean promises.*returned \(\) for 3"):
            team.share(mean, net, (x,), {})
        x[5, 0] = 10
        with pytest.raises(RuntimeError, match="that is too much"):  # in the helper alone
            team.share(picky, net, (x,), {})
        x[5, 0] = 0
        assert team.share(picky, net, (x,), {}).shape == (6, 3)


def sleep(net, x, *, here, interrupted):
    """A long computation in the helper, which nobody waits for; here one that ends at once."""
    if os.getpid() != here:
        time.sleep(60)
    elif interrupted:
        raise KeyboardInterrupt
    return net(x)


@pytest.mark.parametrize("while_waiting", [False, True])
def test_nobody_waits_for_what_was_interrupted(processes, rng, while_waiting):
    """Neither while we compute our own share, nor while we wait for the helper's."""
    net, x = Net(), rng.standard_normal((6, 4, 4, 2), dtype=np.float32)
    settings = {"here": os.getpid(), "interrupted": not while_waiting}
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with Team(net) as team:
            net(x)
            process = team._helpers[0]._process
            began = time.monotonic()
            if while_waiting:
                signal.setitimer(signal.ITIMER_REAL, 0.5)
            with pytest.raises(KeyboardInterrupt):
                team.share(sleep, net, (x,), settings)
            assert time.monotonic() - began < 30
            assert not alive(process) and workers._lent == 0
            assert net(x).shape == (6, 3)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("norm", [np.inf, 2])
def test_an_attack_meets_its_helpers_once(processes, rng, asked, wrapped, norm):
    network = Classifier(1, 3, widths=(8, 8)).astype(np.float64)
    model = adversarial.on_pictures(network) if wrapped else network
    x, y = rng.random((5, 6, 6, 1)), np.arange(5) % 3
    settings = {"eps": np.float32(0.1), "steps": np.int64(6), "norm": norm, "momentum": 0.5}
    found = attacked_by(processes, (1, 2), model, x, y, **settings)
    assert len(asked) == 1
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-12)
    assert all(p.requires_grad for p in network.parameters())


def attacked_by(processes, numbers, model, x, y, **settings):
    """What PGD finds with so many processes, from the same seed"""
    found = []
    for number in numbers:
        processes(number)
        td.seed(0)
        found.append(adversarial.pgd(model, x, y, **settings))
    return found


class Noisy(Classifier):
    """Chance has a hand in its answers, in evaluation too."""

    def forward(self, x):
        x = x if isinstance(x, Tensor) else Tensor(x)
        return super().forward(x + 0.3 * backend.randn(x.shape, dtype=x.dtype))


def test_restarts_and_chance_in_an_attack(processes, rng):
    x, y = rng.random((7, 6, 6, 1)), np.arange(7) % 3
    model = Noisy(1, 3, widths=(8, 8)).astype(np.float64)
    settings = {"eps": 0.05, "steps": 3, "restarts": 3, "draws": 2}
    found = attacked_by(processes, (1, 2, 3), model, x, y, **settings)
    np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=0, atol=1e-12)


class Brighter(nn.Module):
    """A wrapper that makes no promise, and of which helpers do not know."""

    def __init__(self, network):
        self.model = network

    def forward(self, x):
        return self.model(1.5 * x)


class Darker(adversarial.OnPictures):
    """Not what an `OnPictures` computes."""

    def forward(self, x):
        return self.model(0.5 * x)


@pytest.mark.parametrize("kind", [Brighter, Darker])
def test_an_attack_on_another_wrapper_is_shared_out_step_by_step(processes, rng, asked, kind):
    network = Classifier(1, 3, widths=(8, 8)).astype(np.float64)
    x, y = rng.random((5, 6, 6, 1)), np.arange(5) % 3
    found = attacked_by(processes, (1, 2), kind(network), x, y, eps=0.1, steps=3)
    assert len(asked) == 6
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-12)
    other = attacked_by(processes, (1,), adversarial.on_pictures(network), x, y, eps=0.1, steps=3)
    assert not np.allclose(other, found[0])
