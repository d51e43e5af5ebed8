"""On a GPU: what is read back and when, and steps that turn out to have gone wrong."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import backend, data, diffusion, models, nn, ops, optim, training
from tinydiff.backend import xp
from tinydiff.diffusion.samplers import SAMPLERS

EVERY = 16  # steps between two questions to the device
pytestmark = pytest.mark.skipif(backend.name != "cupy", reason="NumPy computes at once")
counting = pytest.mark.skipif(
    not hasattr(xp, "transfers"),
    reason="only the stand-in for CuPy counts transfers, and reads its limit each time",
)


def small_unet() -> models.UNet:
    settings = dict(base_channels=8, channel_mults=(1, 2), norm_groups=4)
    return models.UNet(1, num_classes=10, num_res_blocks=1, **settings)


def diffusion_trainer() -> training.Trainer:
    digits = data.digits()
    model = small_unet()
    process = diffusion.GaussianDiffusion(diffusion.NoiseSchedule.cosine(100), "v")
    return training.Trainer(
        model,
        lambda x, y: process.training_loss(model, x, cond=y),
        data.Batches(digits, 4, seed=0, pad=2),
        optim.AdamW(model.parameters(), lr=1e-3),
        ema=optim.EMA(model),
        clip=1.0,
    )


def transfers(work) -> dict:
    before = dict(xp.transfers)
    work()
    return {kind: xp.transfers[kind] - before[kind] for kind in before}


@counting
def test_training_waits_for_the_device_every_sixteenth_step(tmp_path):
    trainer = diffusion_trainer()
    steps = trainer.run(until=EVERY + 1)
    first = transfers(lambda: [next(steps) for _ in range(EVERY - 1)])
    assert first["to host"] == 0
    # Pictures, noise, the factors of both for x_t and for v, the embedding of t, the labels, and
    # these in order for the gradient; the losses' weights, and factors for how t was drawn.
    assert first["to device"] == 11 * (EVERY - 1)
    assert transfers(lambda: next(steps))["to host"] <= 1 + 2 * EVERY  # the flag, two numbers each


@counting
def test_sampling_stays_on_the_device():
    model = small_unet().eval()
    schedule = diffusion.NoiseSchedule.cosine(100)
    process = diffusion.GaussianDiffusion(schedule, "v")
    denoise = diffusion.classifier_free(model, process, np.arange(3), scale=2.0)
    noise = backend.randn((3, 8, 8, 1))
    for sampler in SAMPLERS.values():
        count = transfers(lambda s=sampler: list(s(denoise, noise, schedule, steps=5)))
        assert count["to host"] == 0


def line_trainer(bad_step: int, size: float = np.inf) -> training.Trainer:
    """Learns w with x → w·x; the batch of ``bad_step`` makes the loss infinite."""
    td.seed(0)
    layer = nn.Linear(1, 1, bias=False)
    batches = [(np.full((2, 1), 0.1 * i + 0.1, np.float32),) for i in range(2 * EVERY)]
    batches[bad_step - 1][0][:] = size
    return training.Trainer(
        layer,
        lambda x: ops.mse_loss(layer(x), backend.asarray(np.ones((2, 1), np.float32))),
        batches,
        optim.Adam(layer.parameters(), lr=0.1),
        ema=optim.EMA(layer, 0.5),
    )


def test_a_bad_step_is_noticed_later_and_changes_nothing():
    trainer = line_trainer(5)
    taken = []
    with pytest.raises(training.TrainingDiverged, match=r"step 5: the loss is inf; .* of step 4"):
        taken += trainer.run(until=2 * EVERY)
    good = line_trainer(2 * EVERY)
    list(good.run(until=4))
    assert trainer.step == 4
    state, expected = trainer.state_dict(), good.state_dict()
    assert state["optimiser"]["steps"] == expected["optimiser"]["steps"] == 4
    assert state["ema"]["updates"] == 4
    np.testing.assert_array_equal(state["model"]["weight"], expected["model"]["weight"])
    np.testing.assert_array_equal(
        state["ema"]["weights"]["weight"], expected["ema"]["weights"]["weight"]
    )
    for name, buffer in state["optimiser"]["buffers"].items():
        np.testing.assert_array_equal(buffer, expected["optimiser"]["buffers"][name])
    assert state["random"] == expected["random"]


def test_a_bad_gradient_is_told_from_a_bad_loss():
    trainer = line_trainer(2 * EVERY)
    loss = trainer.loss
    trainer.loss = lambda x: loss(x) + ops.sqrt(ops.square(trainer.model.weight)).sum() * 0
    trainer.model.weight.data[...] = 0  # where the root's slope is infinite
    with pytest.raises(training.TrainingDiverged, match="step 1: the gradient's norm is nan"):
        list(trainer.run(until=5))


def test_the_log_ends_before_the_bad_step(tmp_path):
    trainer = line_trainer(EVERY + 4)
    with pytest.raises(training.TrainingDiverged):
        list(training.train(trainer, 2 * EVERY, tmp_path, save_every=1000))
    log = training.read_log(tmp_path / "log.jsonl")
    assert [r["step"] for r in log] == list(range(1, EVERY + 4))


def test_a_checkpoint_is_never_of_a_bad_step(tmp_path):
    trainer = line_trainer(7)
    with pytest.raises(training.TrainingDiverged):
        list(training.train(trainer, 2 * EVERY, tmp_path, save_every=6))
    assert training.load(tmp_path / "checkpoint.npz")["step"] == 6


def test_reading_a_loss_waits_for_it():
    trainer = line_trainer(2 * EVERY)
    w = trainer.model.weight.item()
    record = next(trainer.run(until=EVERY))
    assert trainer.settled == 0
    assert record.loss == pytest.approx((0.1 * w - 1) ** 2)


def test_out_of_memory_names_the_batch_and_saves(tmp_path):
    trainer = diffusion_trainer()
    usual = trainer.loss

    def loss(x, y):
        if trainer.step == 2:
            xp.empty(1 << 50, np.uint8)
        return usual(x, y)

    trainer.loss = loss
    with pytest.raises(backend.OutOfMemory, match=r"step 3: a batch of 4 .*all before is saved"):
        list(training.train(trainer, 9, tmp_path))
    assert training.load(tmp_path / "checkpoint.npz")["step"] == 2
    trainer.loss = usual
    assert len(list(training.train(trainer, 4, tmp_path))) == 2


@counting
def test_out_of_memory_names_the_limit(monkeypatch):
    trainer = diffusion_trainer()
    next(trainer.run(until=2))
    monkeypatch.setenv("CUPY_GPU_MEMORY_LIMIT", "4000")
    with pytest.raises(backend.OutOfMemory, match=r"a batch of 4 .*CUPY_GPU_MEMORY"):
        next(trainer.run(until=2))
