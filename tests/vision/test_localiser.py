"""What and where: the joint loss, what an output means, scores, a localiser in one piece."""

import numpy as np
import pytest
from vision.random_boxes import boxes_anywhere

import tinydiff as td
from tinydiff import Tensor, data, optim, training, vision
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float
from tinydiff.models import Detector
from tinydiff.vision import BOX_LOSSES, Localiser, Objects, localiser_loss, localiser_scores

NETWORK = {"widths": [8, 16], "blocks": [0, 1], "patch": 2}
SETTINGS = {"classes": ["circle", "star"], "localiser": NETWORK}
PICTURES = np.random.default_rng(0).integers(0, 256, (19, 16, 24, 3), np.uint8)
each_loss = pytest.mark.parametrize("box_loss", BOX_LOSSES)


def outputs(rng, n=6, classes=3):
    """(boxes across the picture, logits) side by side, labels, and other boxes"""
    boxes = boxes_anywhere(rng, 2 * n, size=6) / 6
    output = np.concatenate([boxes[:n], rng.standard_normal((n, classes))], axis=1)
    return output, rng.integers(0, classes, n), boxes[n:]


# The loss


def test_the_loss_by_hand():
    output = np.array([[0.0, 0, 0.5, 0.5, 0, np.log(3)], [0.1, 0.2, 0.3, 0.4, 0, 0]])
    labels, boxes = np.array([1, 0]), np.array([[0.0, 0, 1, 0.5], [0.1, 0.2, 0.3, 0.4]])
    classes = (np.log(4 / 3) + np.log(2)) / 2
    expected = {"l2": 0.25, "smooth_l1": 0.5 - 0.05 / 2, "giou": 0.5}
    assert set(expected) == set(BOX_LOSSES)
    for name, value in expected.items():
        loss = localiser_loss(Tensor(output), labels, boxes, box_loss=name, weight=3)
        assert loss.classes.item() == pytest.approx(classes)
        assert loss.box.item() == pytest.approx(3 * value / 2)
        assert loss.total.item() == pytest.approx(classes + 3 * value / 2)


@each_loss
def test_gradients_of_the_joint_loss(box_loss, rng, seed):
    output, labels, boxes = outputs(rng)
    boxes[0], boxes[1] = [0, 0, 0.5, 1], [0, 0, 1, 1]  # on the border of the picture

    def joint(y):
        return localiser_loss(y, labels, boxes, box_loss=box_loss, weight=7).total

    td.gradcheck(joint, output, seed=seed)


@each_loss
@pytest.mark.parametrize("thin", [[0.5, 0.5, 0.5, 0.5], [0, 0.5, 1, 0.5], [0, 0, 0, 1]])
def test_boxes_without_area_have_a_loss_that_leads_to_them(box_loss, thin):
    """GIoU only up to where they meet: around a point it is 0, whatever the box."""
    output = Tensor(np.array([[0.6, 0.6, 0.9, 0.8, 0, 0]]), requires_grad=True)
    losses = []
    for _ in range(300):
        loss = localiser_loss(output, np.array([0]), np.array([thin], float), box_loss=box_loss)
        loss.total.backward()
        assert np.isfinite(to_numpy(output.grad)).all()
        losses.append(loss.box.item())
        corners = output.data[:, :4] - 0.01 * output.grad[:, :4]
        output.data[:, :4] = asarray(np.sort(to_numpy(corners).reshape(2, 2), axis=0).reshape(1, 4))
        output.grad = None
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.95 * losses[0]


def test_without_a_weight_nothing_is_learned_about_boxes(rng):
    output, labels, boxes = outputs(rng)
    output = Tensor(output, requires_grad=True)
    localiser_loss(output, labels, boxes, weight=0).total.backward()
    grad = to_numpy(output.grad)
    assert not grad[:, :4].any() and grad[:, 4:].all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"box_loss": "l3"}, "box_loss: expected one of l2, smooth_l1, giou, got 'l3'"),
        ({"weight": -1}, "weight: expected a finite number ≥ 0, got -1"),
        ({"weight": np.nan}, "weight: .* got nan"),
        ({"output": np.zeros((2, 4))}, r"output: expected \(N, 4 \+ classes\), got shape \(2, 4\)"),
        ({"boxes": np.zeros((1, 4))}, "prediction .* target .* differ"),
        ({"labels": np.array([0, 3])}, "label"),
    ],
)
def test_refused_losses(changed, message):
    given = {"output": np.zeros((2, 6)), "labels": np.array([0, 1]), "boxes": np.zeros((2, 4))}
    given |= changed
    with pytest.raises(ValueError, match=message):
        localiser_loss(
            Tensor(given.pop("output")), given.pop("labels"), given.pop("boxes"), **given
        )


# What an output means


def test_an_output_in_pixels():
    output = Tensor(np.array([[0.25, 0.5, 0.75, 1, 0, np.log(3)], [-0.5, 0.1, 0.5, 1.5, 1, 1]]))
    first, second = vision.located(output, 20, 40)
    np.testing.assert_allclose(first.boxes, [[10, 10, 30, 20]])
    assert first.labels.tolist() == [1] and first.scores[0] == pytest.approx(0.75)
    np.testing.assert_allclose(second.boxes, [[0, 2, 20, 20]])  # cut off at the border
    assert second.labels.tolist() == [0] and second.scores[0] == pytest.approx(0.5)


def test_a_box_outside_of_the_picture_is_one_without_area():
    (found,) = vision.located(Tensor(np.array([[1.2, 0.1, 1.5, 0.3, 1, 0]])), 10, 10)
    assert vision.area(found.boxes)[0] == 0


# Scores


def one(box, label):
    return Objects(np.array([box], float), np.array([label]))


def test_scores_by_hand():
    truths = [one([0, 0, 10, 10], 1)] * 4
    found = [
        one([0, 0, 10, 10], 1),  # all right
        one([0, 0, 10, 5], 1),  # IoU ½ is enough
        one([0, 0, 10, 4], 1),
        one([0, 0, 10, 10], 0),
    ]
    assert localiser_scores(found, truths) == pytest.approx((2.9 / 4, 3 / 4, 2 / 4))


def test_refused_scores():
    with pytest.raises(ValueError, match="found: of 1 pictures, truths of 0"):
        localiser_scores([one([0, 0, 1, 1], 0)], [])
    with pytest.raises(ValueError, match="truths of 0"):
        localiser_scores([], [])
    nothing = Objects(np.zeros((0, 4)), np.zeros(0, int))
    with pytest.raises(ValueError, match=r"truths\[0\]: expected one object, got 0"):
        localiser_scores([one([0, 0, 1, 1], 0)], [nothing])


# In one piece


def localiser_that_speaks(seed=0):
    td.seed(seed)
    localiser = Localiser(SETTINGS)
    weight = localiser.model.where.weight
    weight.data[...] = asarray(np.random.default_rng(1).standard_normal(weight.shape))
    return localiser


def same(a, b):
    return all(
        np.allclose(x.boxes, y.boxes, atol=1e-3) and np.allclose(x.scores, y.scores, atol=1e-4)
        for x, y in zip(a, b, strict=True)
    )


def trained(model, folder, settings):
    """The checkpoint of a run, and the EMA of its weights."""
    trainer = training.Trainer(
        model,
        lambda x: (model(x) ** 2).sum(),
        [(to_float(PICTURES[:2]),)] * 4,
        optim.AdamW(model.parameters(), lr=0.05),
        ema=optim.EMA(model, decay=0.5),
    )
    for _ in training.train(trainer, 4, folder, settings=settings):
        pass
    return folder / "checkpoint.npz", trainer.ema


def test_finds_what_its_parts_find():
    localiser = localiser_that_speaks()
    localiser.model.train()
    found = localiser(PICTURES)  # in two batches
    expected = vision.located(localiser.model(asarray(to_float(PICTURES))), 16, 24)
    assert len(found) == 19 and same(found, expected)
    assert not localiser.model.training
    assert localiser.classes == ("circle", "star")
    (large,) = localiser(np.tile(PICTURES[:1], (1, 3, 2, 1)))
    assert large.boxes.max() > 24
    assert localiser(PICTURES[:0]) == []


def test_comes_back_from_a_checkpoint_with_its_averaged_weights(tmp_path):
    localiser = localiser_that_speaks()
    path, ema = trained(localiser.model, tmp_path, SETTINGS)
    loaded, last = Localiser.load(path), localiser(PICTURES)
    with ema.swapped():
        assert same(loaded(PICTURES), localiser(PICTURES))
    assert not same(loaded(PICTURES), last)


@pytest.mark.parametrize("kind", ["localiser", "detector"])
def test_takes_the_averaged_backbone_of_another_run(kind, tmp_path):
    td.seed(3)
    teacher = Localiser(SETTINGS).model if kind == "localiser" else Detector(3, 9, **NETWORK)
    path, ema = trained(teacher, tmp_path, {})
    pupil = localiser_that_speaks()
    heads = pupil.model.where.state_dict() | pupil.model.what.state_dict()
    pupil.take_backbone(path)
    with ema.swapped():
        expected = getattr(teacher, "backbone", teacher).norm.state_dict()
    for name, array in pupil.model.backbone.norm.state_dict().items():
        np.testing.assert_allclose(array, expected[name])
    for name, array in (pupil.model.where.state_dict() | pupil.model.what.state_dict()).items():
        np.testing.assert_array_equal(array, heads[name])


def test_what_is_no_localiser(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz does not exist: train with"):
        Localiser.load(tmp_path / "none.npz")
    td.save(tmp_path / "other.npz", {"settings": {"unet": {}}, "model": {}, "ema": None})
    with pytest.raises(training.CheckpointError, match=r"not a localiser's, .*lack classes"):
        Localiser.load(tmp_path / "other.npz")
    td.save(tmp_path / "none.npz", {"pictures": np.zeros(3)})
    for name in ("other.npz", "none.npz"):
        with pytest.raises(training.CheckpointError, match="of no network with such a backbone"):
            localiser_that_speaks().take_backbone(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        localiser_that_speaks().take_backbone(tmp_path / "nowhere.npz")


def test_refused_settings_and_pictures():
    with pytest.raises(ValueError, match="they lack localiser"):
        Localiser({"classes": ["a"]})
    with pytest.raises(ValueError, match="num_classes"):
        Localiser({**SETTINGS, "classes": []})
    with pytest.raises(ValueError, match=r"\(N, H, W, 3\), got \(16, 24, 3\)"):
        localiser_that_speaks()(PICTURES[0])
    with pytest.raises(ValueError, match="divisible by 4"):
        localiser_that_speaks()(PICTURES[:, :15])
    with pytest.raises(TypeError, match="uint8"):
        localiser_that_speaks()(PICTURES / 255)


@each_loss
def test_learns_four_scenes_by_heart(box_loss):
    scenes = data.shapes("train", 4, side=32, objects=1)
    truths = vision.objects_of(scenes.labels, scenes.boxes)
    td.seed(0)
    network = {"widths": [16, 32], "blocks": [1, 1], "patch": 4}
    localiser = Localiser({"classes": scenes.classes, "localiser": network})
    model, x = localiser.model, asarray(to_float(scenes.images))
    weight = {"l2": 100, "smooth_l1": 5, "giou": 2}[box_loss]
    optimiser = optim.AdamW(model.parameters(), lr=5e-3)
    assert localiser_scores(localiser(scenes.images), truths).iou < 0.5
    for _ in range(150):
        optimiser.zero_grad()
        boxes = asarray(scenes.boxes[:, 0] / 32)
        kind = {"box_loss": box_loss, "weight": weight}
        localiser_loss(model(x), scenes.labels[:, 0], boxes, **kind).total.backward()
        optimiser.step()
    scores = localiser_scores(localiser(scenes.images), truths)
    assert scores.iou > 0.9 and scores.classes == scores.both == 1
