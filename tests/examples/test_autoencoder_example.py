"""examples/autoencoder.py: two runs, their pictures, one's own picture, and what it refuses."""

import os
import re
import signal

import numpy as np
import pytest
from example_runs import call, everything_in, load, pixels
from PIL import Image
from small_scenes import small_classifiers

from tinydiff import data, metrics, training
from tinydiff.autoencoding import Compressor
from tinydiff.training import whole_run

SIDE, SHOWN = 32, 3
FEW = ("--steps", 3, "--adversary-steps", 3, "--scenes", 6, "--test-scenes", 40)
RUN = {"loss.png", "log.jsonl", "checkpoint.npz"}
DRAWN = {"reconstructions.png", "latents.png"}


@pytest.fixture(autouse=True, scope="module")
def _small():
    with small_classifiers():
        yield


def small_autoencoder():
    """examples/autoencoder.py with small pictures and networks."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("autoencoder")
    module.SIDE, module.SHOWN, module.BATCH = SIDE, SHOWN, 2
    module.NETWORK.update(base_channels=8, norm_groups=4)
    module.KINDS["vq"][1].update(base_channels=8, norm_groups=4, codes=8)
    module.DISCRIMINATOR = {"base_channels": 4, "layers": 1}
    module.ADVERSARY = {"lr": 1e-3, "start": 1}
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("autoencoders")
    ended = call(small_autoencoder(), *FEW, "--out", out)
    assert ended.status == 0, ended.err
    return out, ended


def test_writes_what_it_promises(run):
    out, ended = run
    names = {"autoencoder-kl", "autoencoder-kl-adversary", "classify-scenes", "looks-scenes"}
    assert {path.name for path in out.iterdir()} == names
    assert everything_in(out / "autoencoder-kl") == RUN
    assert everything_in(out / "autoencoder-kl-adversary") == RUN | DRAWN
    for name in ("without", "with"):
        assert re.search(
            rf"^ *{name}: PSNR \d+\.\d\d ± \d\.\d\d dB, Fréchet distance -?\d\.\d{{4}} ± ",
            ended.out,
            re.M,
        )
    assert not os.path.exists(out / "autoencoder-kl-adversary-adversary")


def test_the_second_run_goes_on_from_the_first(run):
    out, _ = run
    first, second = (
        training.load(out / name / "checkpoint.npz")
        for name in ("autoencoder-kl", "autoencoder-kl-adversary")
    )
    assert first["states"] == {} and second["states"]["adversary"]["steps"] == 3
    assert second["settings"]["adversary"] == {"lr": 1e-3, "start": 1}
    weight = "head.weight"
    begun, ended = first["ema"]["weights"][weight], second["model"][weight]
    assert 0 < np.abs(begun - ended).max() < 0.01  # three small steps away


def test_shows_scenes_and_what_comes_back(run):
    out, _ = run
    folder = out / "autoencoder-kl-adversary"
    table = pixels(folder / "reconstructions.png")
    test = data.shapes("test", SHOWN, side=SIDE, objects=(1, 3))
    both = [Compressor.load(out / n / "checkpoint.npz") for n in ("autoencoder-kl", folder.name)]
    rows = [test.images, *(compressor(test.images) for compressor in both)]
    step = 2 * (SIDE + 2)
    grid = table[-(3 * step + 4) :, -(SHOWN * step + 4) :]
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            cell = grid[4 + r * step :, 4 + c * step :][: 2 * SIDE : 2, : 2 * SIDE : 2]
            np.testing.assert_allclose(cell.astype(int), picture, atol=1)
    latents = pixels(folder / "latents.png")
    assert latents.shape[0] > 8 * step and latents.shape[1] > SHOWN * step


def test_the_second_time_there_is_nothing_to_do(run):
    out, ended = run
    module, folder = small_autoencoder(), out / "autoencoder-kl-adversary"
    before = {name: (folder / name).read_bytes() for name in RUN | DRAWN}
    shapes = module.data.shapes
    with pytest.MonkeyPatch.context() as patch:
        drawn = []
        patch.setattr(
            data, "shapes", lambda split, *a, **k: drawn.append(split) or shapes(split, *a, **k)
        )
        again = call(module, *FEW, "--out", out)
    assert again.status == 0 and drawn == ["test"], again
    assert again.out.splitlines()[-3:] == ended.out.splitlines()[-3:]
    for name, content in before.items():
        assert (folder / name).read_bytes() == content, name


def test_stopped_in_the_second_run_and_gone_on_with_it_ends_the_same(run, tmp_path):
    out, _ = run
    module = small_autoencoder()
    train = training.train

    def stopped(trainer, steps, folder, **settings):
        for record in train(trainer, steps, folder, **settings):
            yield record
            if folder.name.endswith("adversary") and record.step == 2:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_run, "train", stopped)
        assert "after step 2 of 3" in call(module, *FEW, "--out", tmp_path).error()
    assert call(small_autoencoder(), *FEW, "--out", tmp_path).status == 0
    for name in ("autoencoder-kl/checkpoint.npz", "autoencoder-kl-adversary/checkpoint.npz"):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name
    changed = [*FEW[:1], 4, *FEW[2:]]
    error = call(small_autoencoder(), *changed, "--out", tmp_path).error()
    assert "other settings" in error and "steps is 4, was 3" in error


@pytest.mark.parametrize("kind", ["vq", "vae"])
def test_other_kinds(kind, run, tmp_path):
    for name in ("classify-scenes", "looks-scenes"):
        (tmp_path / name).symlink_to(run[0] / name)
    ended = call(small_autoencoder(), "--kind", kind, *FEW, "--name", "mine", "--out", tmp_path)
    assert ended.status == 0, ended.err
    runs = {"mine", "mine-adversary"} if kind == "vq" else {"mine"}
    assert {p.name for p in tmp_path.iterdir()} == runs | {"classify-scenes", "looks-scenes"}
    assert everything_in(tmp_path / sorted(runs)[-1]) == RUN | DRAWN
    settings = training.load(tmp_path / "mine" / "checkpoint.npz")["settings"]
    assert settings["kind"] == {"vq": "vq", "vae": "kl"}[kind] and settings["cost_weight"] == 1
    if kind == "vq":
        assert "192 bits a scene" in ended.out  # 8 × 8 places of one of 8 codes


def test_a_picture_of_ones_own(run, here):
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(picture).save("my.png")
    checkpoint = run[0] / "autoencoder-kl" / "checkpoint.npz"
    ended = call(small_autoencoder(), "--checkpoint", checkpoint, "--image", "my.png")
    assert ended.status == 0, ended.err
    target = checkpoint.with_name("my-again.png")
    assert pixels(target).shape == (2 * (172 + 4), 2 * (2 * 256 + 6), 3)
    seen = data.read_picture("my.png", 256, multiple=4)[None]
    db = metrics.psnr(Compressor.load(checkpoint)(seen), seen).value
    assert f"PSNR {db:.2f} dB" in ended.out
    target.unlink()


def test_refuses_in_one_sentence(run, here):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("my.png")
    no_run = call(small_autoencoder(), "--checkpoint", "none.npz", "--image", "my.png").error()
    assert "none.npz does not exist: train with examples/autoencoder.py first" in no_run
    other = run[0] / "looks-scenes" / "checkpoint.npz"
    wrong = call(small_autoencoder(), "--checkpoint", other, "--image", "my.png").error()
    assert "a checkpoint, but not an autoencoder's" in wrong
    lonely = call(small_autoencoder(), "--image", "my.png").error()
    assert "--image and --checkpoint belong together" in lonely
    assert "invalid choice" in call(small_autoencoder(), "--kind", "ae").error()
    assert everything_in(here) == {"my.png"}
