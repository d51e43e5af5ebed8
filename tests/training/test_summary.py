"""What a log tells of a run."""

import json

import pytest

from tinydiff import plots
from tinydiff.training import minutes, save_loss


def write_log(folder, losses, images_per_second):
    records = [
        {"step": i, "loss": loss, "images_per_second": speed}
        for i, (loss, speed) in enumerate(zip(losses, images_per_second, strict=True), 1)
    ]
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")


def test_minutes_are_those_of_all_steps(tmp_path):
    write_log(tmp_path, [3, 2, 1], [0.5, 1, 2])
    assert minutes(tmp_path, 8) == pytest.approx((16 + 8 + 4) / 60)


def test_the_loss_is_drawn_beside_the_log(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "save_curves", lambda *what, title: drawn.append((*what, title)))
    write_log(tmp_path, [3, 2, 1], [1, 1, 1])
    save_loss(tmp_path, "a title")
    assert drawn == [(tmp_path / "loss.png", {"loss": [3, 2, 1]}, "a title")]


def test_no_run(tmp_path):
    for tell in (minutes, save_loss):
        with pytest.raises(FileNotFoundError):
            tell(tmp_path, 8)
