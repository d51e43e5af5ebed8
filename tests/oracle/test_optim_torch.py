"""Layers and optimisers against PyTorch: the same weights, the same answers, the same paths."""

import math

import numpy as np
import pytest

import tinydiff as td
from tinydiff import nn, optim
from tinydiff.backend import to_numpy
from tinydiff.nn import Parameter

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

SHAPES = [(3, 5), (7,), (2, 3, 4), (1,)]
PAIRS = {
    "sgd": (lambda p: optim.SGD(p, 0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "momentum": (
        lambda p: optim.SGD(p, 0.05, momentum=0.9),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    ),
    "nesterov": (
        lambda p: optim.SGD(p, 0.05, momentum=0.8, nesterov=True, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.8, nesterov=True, weight_decay=0.1),
    ),
    "decay": (
        lambda p: optim.SGD(p, 0.1, weight_decay=0.3),
        lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.3),
    ),
    "adam": (lambda p: optim.Adam(p, 0.01), lambda p: torch.optim.Adam(p, 0.01)),
    "adam, settings": (
        lambda p: optim.Adam(p, 0.02, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 0.02, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1),
    ),
    "adamw": (lambda p: optim.AdamW(p, 0.01), lambda p: torch.optim.AdamW(p, 0.01)),
    "adamw, settings": (
        lambda p: optim.AdamW(p, 0.02, betas=(0.8, 0.95), weight_decay=0.5),
        lambda p: torch.optim.AdamW(p, 0.02, betas=(0.8, 0.95), weight_decay=0.5),
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PAIRS)
def test_twenty_steps_with_changing_learning_rate(name, dtype):
    rng = np.random.default_rng(1)
    start = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    ours = [Parameter(a.copy()) for a in start]
    theirs = [torch.nn.Parameter(torch.tensor(a)) for a in start]
    optimiser, reference = PAIRS[name][0](ours), PAIRS[name][1](theirs)
    peak = optimiser.lr
    for step in range(20):
        lr = peak * (1 + 0.5 * math.cos(step))
        optimiser.lr = reference.param_groups[0]["lr"] = lr
        optimiser.zero_grad()
        for p, q in zip(ours, theirs, strict=True):
            g = rng.standard_normal(p.shape).astype(dtype)
            p.grad = td.backend.asarray(g)
            q.grad = torch.tensor(g)
        optimiser.step()
        reference.step()
        tolerance = 1e-6 if dtype is np.float32 else 1e-13
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.numpy(), q.detach().numpy(), tolerance, tolerance)


def test_clipping():
    rng = np.random.default_rng(2)
    for scale in (0.01, 10.0):
        ours, theirs = [], []
        for shape in SHAPES:
            g = (scale * rng.standard_normal(shape)).astype(np.float32)
            ours.append(Parameter(np.zeros(shape, np.float32)))
            ours[-1].grad = td.backend.asarray(g.copy())
            theirs.append(torch.nn.Parameter(torch.zeros(shape)))
            theirs[-1].grad = torch.tensor(g)
        norm = float(optim.clip_grad_norm(ours, 1.0))
        assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, 1.0)), rel=1e-6)
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(to_numpy(p.grad), q.grad.numpy(), 2e-6)


def test_schedules():
    def path(make, steps):
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.3)
        scheduler, rates = make(optimiser), []
        for _ in range(steps):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            scheduler.step()
        return rates

    lr_scheduler = torch.optim.lr_scheduler
    for steps, warm in ((100, 0.3), (37, 0.1), (10, 0.5)):
        ours = optim.one_cycle(0.3, steps, warm=warm)
        theirs = path(
            lambda o, n=steps, w=warm: lr_scheduler.OneCycleLR(o, 0.3, n, pct_start=w), steps
        )
        np.testing.assert_allclose([ours(s) for s in range(steps)], theirs, 1e-9)
    ours = optim.cosine(0.3, 50, final=0.01)
    theirs = path(lambda o: lr_scheduler.CosineAnnealingLR(o, 50, 0.01), 50)
    np.testing.assert_allclose([ours(s) for s in range(50)], theirs, 1e-9)
    ours = optim.warmup(optim.constant(0.3), 8)
    theirs = path(lambda o: lr_scheduler.LinearLR(o, 1 / 8, total_iters=7), 20)
    np.testing.assert_allclose([ours(s) for s in range(20)], theirs, 1e-9)


def close(ours, theirs, tolerance=1e-5):
    ours = ours if isinstance(ours, np.ndarray) else to_numpy(ours)
    np.testing.assert_allclose(ours, theirs.detach().numpy(), tolerance, tolerance)


def test_batch_norm_moves_its_statistics_as_pytorch_does():
    rng = np.random.default_rng(3)
    ours, theirs = nn.BatchNorm2d(5, momentum=0.2), torch.nn.BatchNorm2d(5, momentum=0.2)
    for _ in range(4):
        x = (2 + 3 * rng.standard_normal((2, 3, 4, 5))).astype(np.float32)
        nchw = torch.tensor(x).permute(0, 3, 1, 2)
        close(ours(td.Tensor(x)).numpy(), theirs(nchw).permute(0, 2, 3, 1))
        close(ours.running_mean, theirs.running_mean)
        close(ours.running_var, theirs.running_var)
    ours.eval()
    theirs.eval()
    close(ours(td.Tensor(x)).numpy(), theirs(nchw).permute(0, 2, 3, 1))


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_multi_head_attention(cross, masked):
    rng = np.random.default_rng(4)
    n, t, s, c, heads = 3, 5, 7 if cross else 5, 12, 4
    context_dim = 8 if cross else c
    theirs = torch.nn.MultiheadAttention(
        c, heads, batch_first=True, kdim=context_dim, vdim=context_dim
    )
    ours = nn.MultiHeadAttention(c, heads, context_dim=context_dim)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(rng.standard_normal(p.shape)))
    if cross:
        weights = [theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight]
    else:
        weights = theirs.in_proj_weight.chunk(3)
    state = {"out.weight": theirs.out_proj.weight.T, "out.bias": theirs.out_proj.bias}
    biases = theirs.in_proj_bias.chunk(3)
    for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
        state |= {f"{name}.weight": weight.T, f"{name}.bias": bias}
    ours.load_state_dict({k: v.detach().numpy() for k, v in state.items()})

    x = rng.standard_normal((n, t, c)).astype(np.float32)
    context = rng.standard_normal((n, s, context_dim)).astype(np.float32) if cross else x
    allowed = rng.random((n, t, s)) < 0.6
    allowed[..., 0] = True
    x1, x2 = td.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    memory = torch.tensor(context) if cross else x2
    y1 = ours(x1, td.Tensor(context) if cross else None, td.Tensor(allowed) if masked else None)
    forbidden = torch.tensor(~allowed).repeat_interleave(heads, 0) if masked else None
    y2, _ = theirs(x2, memory, memory, attn_mask=forbidden)
    close(y1.numpy(), y2, 1e-4)
    g = rng.standard_normal(y1.shape).astype(np.float32)
    y1.backward(g)
    y2.backward(torch.tensor(g))
    close(x1.grad, x2.grad, 1e-4)
    close(ours.out.weight.grad, theirs.out_proj.weight.grad.T, 1e-4)


def test_convolution_layers_pass_their_settings_on():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 9, 7, 4)).astype(np.float32)
    settings = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
    a, b = nn.Conv2d(4, 6, (3, 2), **settings), torch.nn.Conv2d(4, 6, (3, 2), **settings)
    c = nn.ConvTranspose2d(4, 6, (3, 2), output_padding=(1, 0), **settings)
    d = torch.nn.ConvTranspose2d(4, 6, (3, 2), output_padding=(1, 0), **settings)
    for ours, theirs, order in ((a, b, (3, 2, 0, 1)), (c, d, (2, 3, 0, 1))):
        with torch.no_grad():
            theirs.weight.copy_(torch.tensor(ours.weight.numpy().transpose(order)))
            theirs.bias.copy_(torch.tensor(ours.bias.numpy()))
        expected = theirs(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        close(ours(td.Tensor(x)).numpy(), expected)


def test_layers_begin_with_pytorchs_spread():
    """Bounds agree: a fresh layer's largest weight comes close to PyTorch's, and never above."""
    td.seed(0)
    torch.manual_seed(0)
    pairs = [
        (nn.Linear(40, 50), torch.nn.Linear(40, 50)),
        (nn.Conv2d(8, 16, 3, groups=2), torch.nn.Conv2d(8, 16, 3, groups=2)),
        (nn.ConvTranspose2d(8, 16, 3, groups=2), torch.nn.ConvTranspose2d(8, 16, 3, groups=2)),
        (nn.MultiHeadAttention(32, 2).query, torch.nn.MultiheadAttention(32, 2)),
    ]
    for ours, theirs in pairs[:-1]:
        for name in ("weight", "bias"):
            p, q = getattr(ours, name).numpy(), getattr(theirs, name).detach().numpy()
            assert abs(p).max() == pytest.approx(abs(q).max(), rel=0.01 if p.size > 99 else 0.3)
    # PyTorch draws q, k and v as one (3d, d) matrix, we each by itself: √(6/2d) against √(6/4d).
    ours, theirs = pairs[-1]
    ratio = abs(ours.weight.numpy()).max() / float(theirs.in_proj_weight.detach().abs().max())
    assert ratio == pytest.approx(math.sqrt(2), rel=0.02)
