"""Attacks against foolbox's and torchattacks', on one network with the same weights, in float64.

There the sign of a gradient is not a matter of rounding, and two right attacks agree to the last
digits after all their steps.
"""

import math

import numpy as np
import pytest

import tinydiff as td
from tinydiff import adversarial, nn
from tinydiff.backend import asarray, to_numpy

torch = pytest.importorskip("torch")
foolbox = pytest.importorskip("foolbox")
torchattacks = pytest.importorskip("torchattacks")
pytestmark = pytest.mark.oracle
EPS = {math.inf: 0.06, 2: 0.9}
CLASSES = 6


class Net(nn.Module):
    """Convolutions, ReLU, a mean, a linear layer."""

    independent_images = True

    def __init__(self):
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 12, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.GlobalAvgPool2d(),
            nn.Linear(12, CLASSES),
        )

    def forward(self, x):
        return self.body(x)


def theirs_of(net):
    """The same network in PyTorch, of pictures (N, C, H, W) in [0, 1]"""
    layers = [
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 12, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(12, CLASSES),
    ]
    model = torch.nn.Sequential(*layers).double().eval()
    pairs = zip((0, 2, 5), (0, 2, 6), strict=True)
    with torch.no_grad():
        for ours, there in pairs:
            weight = to_numpy(net.body[ours].weight.data)
            weight = weight.T if weight.ndim == 2 else weight.transpose(3, 2, 0, 1)
            model[there].weight.copy_(torch.tensor(weight.copy()))
            model[there].bias.copy_(torch.tensor(to_numpy(net.body[ours].bias.data)))
    return model


@pytest.fixture
def both(rng):
    """Ours, theirs, pictures (N, H, W, C), the classes seen in them, and others."""
    td.seed(5)
    net = Net().astype(np.float64)
    x = np.clip(rng.uniform(-0.2, 1.2, (12, 10, 10, 3)), 0, 1)
    head = list(net.body)[-1]
    head.weight.data *= 30  # untrained, it would hardly tell one class from another
    head.bias.data -= net(asarray(x)).data.mean(axis=0)
    model = theirs_of(net)
    np.testing.assert_allclose(net(asarray(x)).numpy(), model(there(x)).detach(), atol=1e-12)
    seen = adversarial.classes_seen(net, x)
    return net, model, x, seen, (seen + rng.integers(1, CLASSES, 12)) % CLASSES


def there(x):
    return torch.tensor(x.transpose(0, 3, 1, 2).copy())


def back(x):
    return x.detach().numpy().transpose(0, 2, 3, 1)


def by_foolbox(attack, model, x, y, eps, targeted=False):
    model = foolbox.PyTorchModel(model, bounds=(0, 1))
    y = torch.tensor(y)
    criterion = foolbox.criteria.TargetedMisclassification(y) if targeted else y
    raw, _, _ = attack(model, there(x), criterion, epsilons=eps)
    return back(raw)


def by_torchattacks(attack, x, y, targeted=False):
    if targeted:
        attack.set_mode_targeted_by_label(quiet=True)
    return back(attack(there(x), torch.tensor(y)))


@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm(targeted, both):
    net, model, x, seen, others = both
    y = others if targeted else seen
    ours = to_numpy(adversarial.fgsm(net, asarray(x), y, eps=0.06, targeted=targeted))
    pairs = {
        "torchattacks": by_torchattacks(torchattacks.FGSM(model, eps=0.06), x, y, targeted),
    }
    if not targeted:  # foolbox's FGSM knows no targets, and PGD of one step is the same
        pairs["foolbox"] = by_foolbox(foolbox.attacks.FGSM(), model, x, y, 0.06)
    for name, z in pairs.items():
        np.testing.assert_allclose(ours, z, atol=1e-6, err_msg=name)
    assert np.abs(ours - x).max() == pytest.approx(0.06)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", [math.inf, 2])
def test_pgd(norm, targeted, both):
    net, model, x, seen, others = both
    y, eps = others if targeted else seen, EPS[norm]
    steps, step = 40, eps / 12
    ours = to_numpy(
        adversarial.pgd(
            net,
            asarray(x),
            y,
            eps=eps,
            steps=steps,
            step=step,
            norm=norm,
            targeted=targeted,
            random_start=False,
        )
    )
    settings = {"steps": steps, "random_start": False}
    if norm == 2:
        one = foolbox.attacks.L2PGD(abs_stepsize=step, **settings)
        other = torchattacks.PGDL2(model, eps=eps, alpha=step, **settings)
    else:
        one = foolbox.attacks.LinfPGD(abs_stepsize=step, **settings)
        other = torchattacks.PGD(model, eps=eps, alpha=step, **settings)
    np.testing.assert_allclose(
        ours, by_foolbox(one, model, x, y, eps, targeted), atol=1e-6, err_msg="foolbox"
    )
    np.testing.assert_allclose(
        ours, by_torchattacks(other, x, y, targeted), atol=1e-6, err_msg="torchattacks"
    )
    assert ((adversarial.classes_seen(net, asarray(ours)) == y) == targeted).mean() > 0.5


@pytest.mark.parametrize("targeted", [False, True])
def test_momentum(targeted, both):
    net, model, x, seen, others = both
    y = others if targeted else seen
    ours = adversarial.pgd(
        net,
        asarray(x),
        y,
        eps=0.06,
        steps=15,
        step=0.01,
        momentum=0.9,
        targeted=targeted,
        random_start=False,
    )
    attack = torchattacks.MIFGSM(model, eps=0.06, alpha=0.01, steps=15, decay=0.9)
    z = by_torchattacks(attack, x, y, targeted)
    np.testing.assert_allclose(to_numpy(ours), z, atol=1e-6)


def test_deepfool(both):
    net, model, x, seen, _ = both
    ours = to_numpy(adversarial.deepfool(net, asarray(x), seen))
    z = by_foolbox(foolbox.attacks.L2DeepFoolAttack(), model, x, seen, None)
    np.testing.assert_allclose(ours, z, atol=1e-5)
    assert (adversarial.classes_seen(net, asarray(ours)) != seen).all()
    fewer = to_numpy(adversarial.deepfool(net, asarray(x), seen, candidates=3))
    attack = foolbox.attacks.L2DeepFoolAttack(candidates=3)
    np.testing.assert_allclose(fewer, by_foolbox(attack, model, x, seen, None), atol=1e-5)


@pytest.mark.parametrize("targeted", [False, True])
def test_carlini_wagner_finds_changes_as_small_as_foolboxs(targeted, both):
    """Not the same ones: foolbox stops when all pictures together make no progress."""
    net, model, x, seen, others = both
    y = others if targeted else seen
    settings = {"steps": 60, "confidence": 0.0}
    ours = adversarial.carlini_wagner(
        net, asarray(x), y, targeted=targeted, lr=0.01, search_steps=5, c=0.1, **settings
    )
    attack = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=5, stepsize=0.01, initial_const=0.1, **settings
    )
    z = by_foolbox(attack, model, x, y, None, targeted)
    for changed in (ours, asarray(z)):
        assert ((adversarial.classes_seen(net, changed) == y) == targeted).all()
    distances = [np.linalg.norm((d - x).reshape(len(x), -1), axis=1) for d in (to_numpy(ours), z)]
    assert np.median(distances[0] / distances[1]) < 1.02
