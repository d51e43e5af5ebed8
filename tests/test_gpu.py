"""What only a real GPU can show: `make gpu`, on a machine that has one."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import tinydiff as td
from tinydiff import backend, kernels, models, ops, optim, training
from tinydiff.backend import to_numpy, xp
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule
from tinydiff.team.replaying import Replaying

ROOT = Path(__file__).parents[1]
STANDIN = backend.name == "cupy" and xp.__version__.endswith("standin")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(backend.name != "cupy", reason="TINYDIFF_BACKEND is not cupy"),
]
on_hardware = pytest.mark.skipif(STANDIN, reason="the stand-in computes on the CPU")


def steps(count: int = 3, size: int = 16) -> dict[str, np.ndarray]:
    """The weights of a small U-Net after some training steps, each drawn from the same seed"""
    td.seed(0)
    model = models.UNet(3, base_channels=32, channel_mults=(1, 2), num_res_blocks=1, num_classes=4)
    process = GaussianDiffusion(NoiseSchedule.cosine(100), "v")
    adam = optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(count):
        x = backend.randn((8, size, size, 3))
        adam.zero_grad()
        process.training_loss(model, x, cond=np.arange(8) % 2).backward()
        adam.step()
    return {name: to_numpy(p.data) for name, p in model.named_parameters()}


@on_hardware
def test_there_is_a_gpu():
    properties = xp.cuda.runtime.getDeviceProperties(0)
    print(properties["name"].decode(), xp.cuda.Device().compute_capability, xp.__version__)
    assert xp.cuda.runtime.getDeviceCount() >= 1


def test_same_seed_same_bits():
    first, again = steps(), steps()
    assert first.keys() == again.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], again[name], err_msg=name)


@on_hardware
def test_a_training_that_is_replayed_has_the_same_bits(monkeypatch):
    """So one that goes on from a checkpoint, whose first steps are not, has them too."""
    weights = {}
    for useful in (True, False):
        monkeypatch.setattr(Replaying, "_useful", lambda self, useful=useful: useful)
        td.seed(0)
        settings = {"channel_mults": (1, 2), "num_res_blocks": 1, "num_classes": 4}
        model = models.UNet(3, base_channels=32, **settings)
        process = GaussianDiffusion(NoiseSchedule.cosine(100), "v")
        rng = np.random.default_rng(0)
        pictures = rng.random((8, 8, 16, 16, 3), dtype=np.float32)
        trainer = training.Trainer(
            model,
            lambda x, y, p=process, m=model: p.training_loss(m, x, cond=y),
            [(x, rng.integers(4, size=8)) for x in pictures],
            optim.AdamW(model.parameters(), lr=1e-3),
            ema=optim.EMA(model),
            clip=1.0,
        )
        assert len(list(trainer.run(until=8))) == 8
        recorded = [len(r._records) for r in trainer._team._records.values()]
        assert recorded == ([1] if useful else [])
        weights[useful] = {name: to_numpy(p.data) for name, p in model.named_parameters()}
    for name, expected in weights[False].items():
        np.testing.assert_array_equal(weights[True][name], expected, err_msg=name)


@pytest.mark.skipif(backend.tf32, reason="TF32 keeps 10 bits of what is multiplied, NumPy 23")
def test_numpy_trains_to_the_same_weights(tmp_path):
    """In float32 all differ a little; Adam makes much of a gradient that is nearly 0."""
    script = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import numpy as np
        from test_gpu import steps
        np.savez({str(tmp_path / "weights.npz")!r}, **steps())
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={"TINYDIFF_BACKEND": "numpy", "PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    with np.load(tmp_path / "weights.npz") as expected:
        for name, weights in steps().items():
            apart = np.abs(weights - expected[name])
            assert np.median(apart) < 1e-5, name
            assert apart.max() < 3 * 2.1e-3, name  # three steps of Adam, in opposite directions


@on_hardware
@pytest.mark.parametrize("shape", [(512, 512, 512), (3, 4096, 5)])
def test_products_are_float32_unless_tf32_is_allowed(shape, rng):
    n, k, m = shape
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((n, k), (k, m)))
    expected = a.astype(np.float64) @ b
    got = to_numpy(kernels.matmul(backend.asarray(a), backend.asarray(b)))
    error = np.abs(got - expected).max() / np.sqrt(k)
    assert error < (1e-2 if backend.tf32 else 2e-6)


@on_hardware
def test_arrays_of_more_than_2_to_the_31_elements():
    n = (1 << 31) + 1000
    if xp.cuda.runtime.memGetInfo()[0] < 3 * 4 * n:
        pytest.skip("the GPU has not the memory for it")
    x = xp.zeros(n, np.float32)
    x[-3:] = 1
    y = kernels.silu(x)
    expected = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(to_numpy(y[-4:]), [0, expected, expected, expected], rtol=1e-6)
    assert float(y[:-3].max()) == 0


@on_hardware
def test_goes_on_after_running_out_of_memory():
    free = xp.cuda.runtime.memGetInfo()[0]
    with (
        pytest.raises(backend.OutOfMemory, match=r"a batch of 77 .* smaller batch"),
        backend.memory_for(77),
    ):
        xp.empty(2 * free, np.float32)
    assert float(ops.sum(td.Tensor(xp.ones(1000, np.float32))).item()) == 1000


@on_hardware
def test_work_is_not_waited_for():
    """Asking for ten large products takes less time than they do."""
    x = xp.ones((4096, 4096), np.float32)
    start, asked, done = (xp.cuda.Event() for _ in range(3))
    kernels.matmul(x, x)
    backend.synchronize()
    start.record()
    for _ in range(10):
        kernels.matmul(x, x)
    asked.record()
    assert not asked.done, "the products were waited for"
    done.record()
    done.synchronize()
    assert xp.cuda.get_elapsed_time(start, done) > 0
