"""A pipeline: what its settings make of it, and that it draws as its parts would."""

import numpy as np
import pytest
import tqdm

import tinydiff as td
from tinydiff import data
from tinydiff.backend import randn, to_numpy, xp
from tinydiff.diffusion import NoiseSchedule, Pipeline, classifier_free, sample_ddpm
from tinydiff.diffusion.parametrisation import TARGET
from tinydiff.diffusion.samplers import SAMPLERS
from tinydiff.training import CheckpointError

SETTINGS = {
    "image": [4, 4, 1],
    "classes": ["plain", "striped"],
    "unet": dict(
        base_channels=8,
        channel_mults=(1,),
        num_res_blocks=1,
        attention_levels=(),
        norm_groups=4,
    ),
    "schedule": ["cosine", 40],
    "prediction": "v",
}
LABELS = np.array([0, 1, 1])
MADE_BY_HAND = {
    "linear": NoiseSchedule.linear(40),
    "scaled_linear": NoiseSchedule.scaled_linear(40),
    "cosine": NoiseSchedule.cosine(40),
    "sigmoid": NoiseSchedule.sigmoid(40),
}


def pipeline(**settings) -> Pipeline:
    """One whose last layer says something: as it begins, it is zeros."""
    td.seed(0)
    made = Pipeline(SETTINGS | settings)
    for p in made.model.parameters():
        p.data[...] = 0.2 * randn(p.shape)
    return made


@pytest.mark.parametrize(("name", "schedule"), MADE_BY_HAND.items(), ids=MADE_BY_HAND)
def test_schedules(name, schedule):
    made = pipeline(schedule=[name, 40]).diffusion.schedule
    np.testing.assert_array_equal(made.betas, schedule.betas)
    made = pipeline(schedule=[name, 40], zero_terminal_snr=True).diffusion.schedule
    np.testing.assert_array_equal(made.betas, schedule.zero_terminal_snr().betas)
    assert made.snr[-1] < 1e-7


@pytest.mark.parametrize("prediction", TARGET)
@pytest.mark.parametrize("learned", [None, False, True])
def test_predictions(prediction, learned):
    made = pipeline(prediction=prediction, learned_variance=learned)
    assert made.diffusion.prediction == prediction
    assert made.diffusion.learned_variance == bool(learned)
    x = xp.zeros((3, 4, 4, 1), np.float32)
    assert made.model(x, np.zeros(3, int), LABELS).shape == (3, 4, 4, 2 if learned else 1)
    drawn = made.draw(3, LABELS, steps=4, guidance=2.0)
    assert drawn.shape == (3, 4, 4, 1) and drawn.dtype == np.uint8
    assert np.isfinite(made.diffusion.training_loss(made.model, x, cond=LABELS).item())


def film(made, told=LABELS, **settings):
    settings = {"steps": 5, "guidance": 2.0, "rng": np.random.default_rng(0), **settings}
    return np.stack([to_numpy(x) for x in made.denoising(3, told, **settings)])


@pytest.mark.parametrize("learned", [False, True])
def test_ddpm_takes_the_variance_that_was_learned(learned):
    made = pipeline(learned_variance=learned)
    denoise = classifier_free(made.model, made.diffusion, LABELS, scale=2.0)
    by_hand = {}
    for variance in ("small", "learned") if learned else ("small",):
        rng = np.random.default_rng(0)
        x_T = randn((3, 4, 4, 1), rng=rng)
        walk = sample_ddpm(
            denoise, x_T, made.diffusion.schedule, steps=5, variance=variance, rng=rng
        )
        by_hand[variance] = np.stack([to_numpy(x) for x in walk])
    got = film(made)
    np.testing.assert_array_equal(got, by_hand["learned" if learned else "small"])
    assert np.array_equal(got, by_hand["small"]) != learned


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("learned", [False, True])
def test_every_sampler_draws(sampler, learned):
    x = film(pipeline(learned_variance=learned), sampler=sampler)
    assert x.shape == (5, 3, 4, 4, 1) and np.isfinite(x).all()


def test_the_bar_moves_within_a_batch(monkeypatch, capsys):
    made, seen = pipeline(), []
    update = tqdm.tqdm.update
    monkeypatch.setattr(
        tqdm.tqdm, "update", lambda bar, n: seen.append((n, bar.total)) or update(bar, n)
    )
    settings = {"steps": 6, "rng": np.random.default_rng(0)}
    drawn = made.draw(3, LABELS, batch=2, progress=True, **settings)
    assert seen == [(2 / 6, 3)] * 6 + [(1 / 6, 3)] * 6
    settings["rng"] = np.random.default_rng(0)
    silent = made.draw(3, LABELS, batch=2, **settings)
    assert np.array_equal(silent, drawn)


def test_the_bar_ends_where_it_should(monkeypatch):
    """Shares of a picture are rounded: 25 times 2/25 is more than 2, of which tqdm would warn."""
    ended, close = [], tqdm.tqdm.close
    monkeypatch.setattr(tqdm.tqdm, "close", lambda bar: ended.append(bar.n) or close(bar))
    for count, steps in ((2, 25), (3, 7), (1, 10)):
        pipeline().draw(count, LABELS[:1].repeat(count), steps=steps, progress=True)
        assert count - 1e-9 < max(ended) <= count
        ended.clear()


def test_no_bar_for_what_is_refused(capsys):
    for settings in ({"steps": 41}, {"steps": 0}, {"guidance": np.nan}):
        with pytest.raises(ValueError):
            pipeline().draw(3, LABELS, progress=True, **settings)
    assert capsys.readouterr().err == ""


TEXT = {"length": 4, "width": 4, "depth": 1, "heads": 1}
TOLD = {
    "classes": [],
    "words": ["a", "red", "circle", "blue"],
    "unet": {**SETTINGS["unet"], "text": TEXT},
}
CAPTIONS = ["a red circle", "A blue circle.", "a circle"]


def test_captions_are_told_as_tokens():
    made = pipeline(**TOLD)
    tokens = made.tokenizer.encode(CAPTIONS)
    assert tokens.tolist() == [[2, 3, 4, 0], [2, 5, 4, 0], [2, 4, 0, 0]]
    denoise = classifier_free(made.model, made.diffusion, tokens, scale=2.0)
    rng = np.random.default_rng(0)
    walk = sample_ddpm(
        denoise, randn((3, 4, 4, 1), rng=rng), made.diffusion.schedule, steps=5, rng=rng
    )
    by_hand = np.stack([to_numpy(x) for x in walk])
    settings = {"steps": 5, "guidance": 2.0, "rng": np.random.default_rng(0)}
    film = [to_numpy(x) for x in made.denoising(3, CAPTIONS, **settings)]
    np.testing.assert_array_equal(film, by_hand)
    pieces = made.draw(3, CAPTIONS, batch=2, steps=2)
    assert pieces.shape == (3, 4, 4, 1)
    assert made.draw(2, steps=2).shape == (2, 4, 4, 1), "of nothing at all"


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (["a red circle", "a rod circle", "a circle"], "'rod' in 'a rod circle'.*near it: red"),
        (["", "a", "a"], "'' has no words"),
        (["a red red blue circle"] * 3, "has 5 words, expected 4"),
        (["a circle"], "cond: expected 3"),
    ],
)
def test_refuses_captions(captions, message):
    with pytest.raises(ValueError, match=message):
        pipeline(**TOLD).draw(3, captions, steps=2)


def test_comes_back_from_a_checkpoint(tmp_path):
    """Also from one that is older than some settings, which are then not there."""
    path = tmp_path / "checkpoint.npz"
    for settings in ({}, {"learned_variance": True, "schedule": ["sigmoid", 40]}, TOLD):
        told = CAPTIONS if "words" in settings else LABELS
        made = pipeline(**settings)
        td.save(path, {"settings": made.settings, "model": made.model.state_dict(), "ema": None})
        again = Pipeline.load(path)
        np.testing.assert_array_equal(film(again, told), film(made, told))


def test_knows_what_it_learned_from():
    made = pipeline(data="fashion-mnist-train")
    assert made.learned_from(data.MNIST_LIKE) == "fashion-mnist"
    for settings, name in (({"data": "cats"}, "cats"), ({}, "")):
        with pytest.raises(ValueError, match=f"learned from '{name}', expected digits, mnist"):
            pipeline(**settings).learned_from(data.MNIST_LIKE)


def test_no_checkpoint():
    with pytest.raises(FileNotFoundError, match=r"no/such.npz does not exist: train with examples"):
        Pipeline.load("no/such.npz")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": ["square", 40]}, "schedule: expected one of linear, .*, got 'square'"),
        ({"schedule": ["cosine", 0]}, "T: .*got 0"),
        ({"prediction": "u"}, "prediction: .*got 'u'"),
        ({**TOLD, "words": ["left of"]}, "words: 'left of' is not one word"),
        ({**TOLD, "classes": ["one"]}, "num_classes and text, expected one"),
    ],
)
def test_refuses_settings(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Pipeline(SETTINGS | settings)
    td.save(tmp_path / "checkpoint.npz", {"settings": SETTINGS | settings, "model": {}, "ema": {}})
    with pytest.raises(CheckpointError, match="not a diffusion model's"):
        Pipeline.load(tmp_path / "checkpoint.npz")


def test_refuses_to_do_without():
    with pytest.raises(ValueError, match="they lack unet, prediction; expected image, classes"):
        Pipeline({k: v for k, v in SETTINGS.items() if k not in ("unet", "prediction")})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda made: made.denoising(3, sampler="rk4"), "sampler is 'rk4', expected one of ddpm"),
        (lambda made: made.denoising(3, guidance=2.0), "no labels, captions or maps to guide to"),
        (lambda made: made.draw(0), "count is 0"),
        (lambda made: made.draw(2, LABELS), "cond: expected 2"),
    ],
)
def test_refuses_to_draw(call, message):
    with pytest.raises(ValueError, match=message):
        call(pipeline())


def test_maps_are_told_pixel_by_pixel():
    """As the guided denoiser is with the same noise; of other sizes than the picture's: refused."""
    made = pipeline(classes=[], map_classes=["circle", "star"])
    assert made.map_classes == ("circle", "star") and made.model.map_classes == 3
    maps = np.random.default_rng(0).integers(0, 3, (2, 4, 4))
    settings = {"sampler": "ddim", "steps": 4}
    got = made.draw(2, maps, guidance=2.0, rng=np.random.default_rng(1), **settings)
    denoise = classifier_free(made.model, made.diffusion, maps, scale=2.0)
    noise = randn((2, 4, 4, 1), rng=np.random.default_rng(1))
    *_, x = SAMPLERS["ddim"](denoise, noise, made.diffusion.schedule, steps=4)
    np.testing.assert_array_equal(got, made.pictures(x))
    assert made.draw(2, **settings).shape == (2, 4, 4, 1)
    with pytest.raises(ValueError, match=r"expected maps of shape \(2, 4, 4\), got \(2, 2, 4\)"):
        made.draw(2, maps[:, :2], steps=4)
