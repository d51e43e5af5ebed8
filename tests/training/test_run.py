"""Training in a folder, without killing anything: resuming, refusing, stopping, diverging."""

import gc
import math
import signal
import weakref

import numpy as np
import pytest
from small_run import make_trainer

import tinydiff as td
from tinydiff import backend, nn, ops, optim, training
from tinydiff.tensor import op
from tinydiff.training.progress import Progress


def take_steps(trainer, steps, folder, **settings):
    return list(training.train(trainer, steps, folder, **settings))


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(a, b)


def test_records(tmp_path):
    trainer = make_trainer()
    records = take_steps(trainer, 12, tmp_path / "new" / "run")
    assert [r.step for r in records] == list(range(1, 13))
    for i, r in enumerate(records):
        assert r.lr == trainer.schedule(i)
        assert r.images == 8
        assert r.images_per_second == r.images / r.seconds
        assert r.grad_norm > 0
    log = training.read_log(tmp_path / "new" / "run" / "log.jsonl")
    assert [(r["step"], r["loss"]) for r in log] == [(r.step, r.loss) for r in records]
    assert set(log[0]) == {"step", "loss", "grad_norm", "lr", "images_per_second"}


def test_a_step_by_hand():
    """Gradient descent on one number: loss (w − x)², with its norm clipped to 1."""
    w = nn.Parameter(np.float32([3.0]))
    model = nn.Sequential()
    model.w = w
    batches = [(np.float32([[x]]), None) for x in (1.0, 2.5)]

    def loss(x, nothing):
        assert nothing is None
        return ops.mse_loss(w, x[0])

    ema = optim.EMA(model, 0.5)
    trainer = training.Trainer(model, loss, batches, optim.SGD([w], 0.25), ema=ema, clip=1.0)
    first, second = trainer.run(2)
    assert (first.loss, first.grad_norm, first.lr) == (4.0, 4.0, 0.25)
    assert second.loss == 0.0625  # (2.75 − 2.5)²
    assert w.item() == 2.625  # 2.75 − 0.25·0.5
    d0, d1 = 1 / 10, 2 / 11
    average = d1 * (d0 * 3 + (1 - d0) * 2.75) + (1 - d1) * 2.625
    assert ema.state_dict()["weights"]["w"][0] == pytest.approx(average)


def test_arrays_go_to_the_backend_and_all_else_stays_as_it_is():
    seen, w = [], nn.Parameter(np.float32([3.0]))
    model = nn.Sequential()
    model.w = w
    targets, labels = object(), np.array([1, 2])
    batch = np.float32([[1.0], [2.0]]), labels, targets, None, np.array([True, False])

    def loss(*entries):
        seen.extend(entries)
        return (w * 2).sum()

    trainer = training.Trainer(model, loss, [batch], optim.SGD(model.parameters(), lr=0.1))
    list(trainer.run(1))
    x, *as_it_is, mask = seen
    assert all(got is given for got, given in zip(as_it_is, batch[1:4], strict=True))
    assert isinstance(x, backend.xp.ndarray) and isinstance(mask, backend.xp.ndarray)


def test_learning_happens(tmp_path):
    records = take_steps(make_trainer(), 200, tmp_path)
    assert np.mean([r.loss for r in records[-20:]]) < 0.7 * records[0].loss


def test_what_the_caller_does_between_steps_does_not_matter():
    quiet = make_trainer()
    for _ in quiet.run(10):
        pass
    busy = make_trainer()
    for _ in busy.run(10):
        td.backend.rng.standard_normal(7)
        busy.model.eval()
        with busy.ema.swapped():
            busy.model(td.Tensor(np.ones((1, 8, 8, 1), np.float32)))
    assert same(quiet.state_dict(), busy.state_dict())


def test_the_seed_before_the_first_step_counts():
    losses = []
    for seed in (1, 1, 2):
        trainer = make_trainer()
        td.seed(seed)
        losses.append([r.loss for r in trainer.run(3)])
    assert losses[0] == losses[1] != losses[2]


def test_stopping_early_and_going_on(tmp_path):
    whole = make_trainer()
    expected = take_steps(whole, 20, tmp_path / "whole", save_every=6)
    stopped = make_trainer()
    for record in training.train(stopped, 20, tmp_path / "parts", save_every=6):
        if record.step == 15:
            break
    assert training.load(tmp_path / "parts" / "checkpoint.npz")["step"] == 12
    again = make_trainer()
    records = training.train(again, 20, tmp_path / "parts", save_every=6)
    assert again.step == 12  # before the first record is asked for
    assert [r.loss for r in records] == [r.loss for r in expected[12:]]
    assert same(whole.state_dict(), again.state_dict())
    assert [r["step"] for r in training.read_log(tmp_path / "parts" / "log.jsonl")] == [
        *range(1, 21)
    ]
    assert take_steps(make_trainer(), 20, tmp_path / "parts") == []


def test_the_trained_weights_are_the_averaged_ones(tmp_path):
    trainer = make_trainer()
    take_steps(trainer, 5, tmp_path, settings={"width": 4})
    state = training.load(tmp_path / "checkpoint.npz")
    assert state["settings"] == {"width": 4}
    other = make_trainer().model
    other.load_state_dict(training.trained_weights(state))
    with trainer.ema.swapped():
        assert same(other.state_dict(), trainer.model.state_dict())
    assert not same(other.state_dict(), trainer.model.state_dict())
    assert same(training.trained_weights(state | {"ema": None}), trainer.model.state_dict())


def test_a_run_of_other_settings_is_not_continued(tmp_path):
    take_steps(make_trainer(), 2, tmp_path, settings={"lr": 0.1, "widths": (1, 2), "old": 1})
    same_settings = {"old": 1, "lr": 0.1, "widths": [1, 2]}
    assert len(take_steps(make_trainer(), 3, tmp_path, settings=same_settings)) == 1
    with pytest.raises(ValueError, match=r"lr is 0\.2, was 0\.1; new is 2, was None; old is"):
        take_steps(make_trainer(), 3, tmp_path, settings={"lr": 0.2, "widths": (1, 2), "new": 2})


def test_whether_a_run_is_finished(tmp_path):
    settings = {"steps": 3, "size": (2, 3)}
    assert not training.is_finished(tmp_path, settings)
    for until in (2, 3):
        trainer = make_trainer()
        for record in training.train(trainer, 3, tmp_path, settings=settings, save_every=1):
            if record.step == until:
                break
        assert training.is_finished(tmp_path, settings) == (until == 3)
    other = {**settings, "size": (2, 4)}
    assert not training.is_finished(tmp_path, other)
    assert training.is_finished(tmp_path, other, whatever=["size"])
    assert not training.is_finished(tmp_path, {**other, "seed": 1}, whatever=["size"])
    assert training.is_finished(tmp_path, {**other, "seed": 1}, whatever=["size", "seed"])
    (tmp_path / "checkpoint.npz").write_bytes(b"PK")
    with pytest.raises(training.CheckpointError):
        training.is_finished(tmp_path, settings)


def test_another_models_checkpoint_is_refused(tmp_path):
    take_steps(make_trainer(), 1, tmp_path)
    other = make_trainer()
    other.model.extra = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"extra\.bias is missing; extra\.weight is missing"):
        take_steps(other, 2, tmp_path)
    without = make_trainer()
    without.ema = None
    with pytest.raises(ValueError, match="the state has an EMA, the trainer has not"):
        take_steps(without, 2, tmp_path)
    td.save(tmp_path / "checkpoint.npz", {"model": {}, "settings": {}})
    with pytest.raises(ValueError, match=r"not a trainer's state: .*'optimiser'.* missing"):
        take_steps(make_trainer(), 2, tmp_path)
    (tmp_path / "checkpoint.npz").write_text("no")
    with pytest.raises(training.CheckpointError, match=r"checkpoint\.npz: .*not a tinydiff check"):
        take_steps(make_trainer(), 2, tmp_path)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, bad):
    trainer = make_trainer()
    healthy = trainer.loss
    trainer.loss = lambda x, y: healthy(x, y) * (bad if trainer.step == 4 else 1.0)
    weights = {}
    with pytest.raises(training.TrainingDiverged, match=f"step 5: the loss is {bad}"):
        for record in training.train(trainer, 9, tmp_path, save_every=2):
            weights[record.step] = [p.numpy().copy() for p in trainer.model.parameters()]
    assert same(weights[4], [p.numpy() for p in trainer.model.parameters()])
    state = training.load(tmp_path / "checkpoint.npz")
    assert state["step"] == 4
    assert len(training.read_log(tmp_path / "log.jsonl")) == 4


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    w = nn.Parameter(np.zeros(1, np.float32))
    model = nn.Sequential()
    model.w = w
    trainer = training.Trainer(
        model, lambda x: (w * 1e30 * 1e30).sum(), [(np.ones(1),)] * 3, optim.SGD([w], 0.1)
    )
    with np.errstate(over="ignore"), pytest.raises(training.TrainingDiverged, match="gradient's"):
        take_steps(trainer, 3, tmp_path)
    assert w.item() == 0


def test_ctrl_c_in_a_step_and_between_steps(tmp_path):
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    trainer = make_trainer()
    healthy = trainer.loss

    def interrupted(x, y):
        if trainer.step == 2:
            signal.raise_signal(signal.SIGINT)
        return healthy(x, y)

    trainer.loss = interrupted
    seen = []
    with pytest.raises(training.TrainingStopped, match="Stopped after step 3 of 9"):
        seen.extend(training.train(trainer, 9, tmp_path))
    assert training.load(tmp_path / "checkpoint.npz")["step"] == 3

    again = make_trainer()
    with pytest.raises(training.TrainingStopped, match="Stopped after step 6 of 9"):
        for record in training.train(again, 9, tmp_path):
            if record.step == 6:
                signal.raise_signal(signal.SIGTERM)
    with pytest.raises(training.TrainingStopped, match="Stopped after step 9 of 9"):
        for record in training.train(make_trainer(), 9, tmp_path):
            if record.step == 9:
                signal.raise_signal(signal.SIGINT)
    assert training.load(tmp_path / "checkpoint.npz")["step"] == 9
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    records = training.train(make_trainer(), 9, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        for _ in records:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    def fill_the_disk():
        for record in training.train(make_trainer(), 9, tmp_path, save_every=2):
            if record.step == 3:
                monkeypatch.setattr("os.fsync", full)

    with pytest.raises(OSError, match="No space left"):
        fill_the_disk()
    assert training.load(tmp_path / "checkpoint.npz")["step"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.npz", "log.jsonl"]


def test_a_log_line_cut_short_is_dropped(tmp_path):
    take_steps(make_trainer(), 3, tmp_path)
    with open(tmp_path / "log.jsonl", "ab") as file:
        file.write(b'{"step": 4, "lo')
    take_steps(make_trainer(), 5, tmp_path)
    assert [r["step"] for r in training.read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4, 5]


def test_the_bar_shows_averages(capsys):
    with Progress(3, 5) as bar:
        for step in (4, 5):
            record = training.Step(step, 2.0, grad_norm=1.0, lr=0.1, images=30, seconds=0.1)
            bar.update(record)
    last = capsys.readouterr().err.split("\r")[-1]
    assert "5/5" in last
    assert "loss 2.0000, 300 images/s" in last


@pytest.mark.parametrize("name", ["steps", "save_every"])
@pytest.mark.parametrize("bad", [0, -1, 2.0])
def test_what_makes_no_sense_is_refused_by_name(tmp_path, name, bad):
    with pytest.raises(ValueError, match=f"train: {name} is {bad}"):
        training.train(make_trainer(), **({"steps": 1, "folder": tmp_path} | {name: bad}))
    assert not list(tmp_path.iterdir())


class Values(np.ndarray):
    """Arrays to which there can be weak references, whatever the backend"""


def test_out_of_memory_lets_the_graph_go(tmp_path):
    trainer, seen = make_trainer(), []
    usual = trainer.loss

    @op
    def keeps(x):
        values = np.zeros(3).view(Values)
        seen.append(weakref.ref(values))
        return x * 1, (lambda g: g * values,)

    @op
    def runs_out_on_the_way_back(x):
        def rule(g):
            raise MemoryError

        return x * 1, (rule,)

    def loss(*batch):
        value = usual(*batch)
        return value if trainer.step < 2 else runs_out_on_the_way_back(keeps(value))

    trainer.loss = loss
    try:
        take_steps(trainer, 5, tmp_path)
    except backend.OutOfMemory as error:
        assert "step 3" in str(error) and "all before is saved" in str(error)
        gc.collect()
        assert seen[0]() is None  # while the error is still being handled
    assert training.load(tmp_path / "checkpoint.npz")["step"] == 2
    assert len(seen) == 1
