"""Small classifiers of scenes, for the examples that need some."""

import contextlib

import pytest

from tinydiff.metrics import scenes


@contextlib.contextmanager
def small_classifiers():
    """Inside, `metrics.scene_classifier` trains small networks on few scenes."""
    with pytest.MonkeyPatch.context() as patch:
        small = {"widths": (8, 8), "epochs": 1.0, "lr": 0.01, "batch_size": 20}
        patch.setattr(scenes, "COUNT", 20)
        patch.setattr(scenes, "RECIPE", {**scenes.RECIPE, **small})
        yield
