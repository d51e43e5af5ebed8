"""CLIP's contrastive loss and its gradients against PyTorch, as the paper's figure 3 writes it."""

import math

import numpy as np
import pytest

from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import contrastive_loss
from tinydiff.models.clip import unit

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("n, d", [(1, 3), (2, 3), (7, 5), (32, 64)])
def test_loss_and_gradients(n, d):
    rng = np.random.default_rng(n)
    arrays = [rng.standard_normal((n, d)), rng.standard_normal((n, d)), np.array(math.log(9.0))]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    a, b, log_scale = theirs
    logits = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T * log_scale.exp()
    own = torch.arange(n)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    expected.backward()

    ours = [Tensor(asarray(a), requires_grad=True) for a in arrays]
    a, b, log_scale = ours
    loss = contrastive_loss(unit(a) @ unit(b).transpose(1, 0) * log_scale.exp())
    loss.backward()
    assert abs(loss.item() - expected.item()) < 1e-10
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(to_numpy(mine.grad), other.grad.numpy(), atol=1e-10)


def test_what_says_the_same_is_masked():
    rng = np.random.default_rng(0)
    z, meanings = rng.standard_normal((6, 6)), np.array([0, 1, 0, 2, 1, 0])
    theirs = torch.tensor(z, requires_grad=True)
    same = torch.tensor(meanings[:, None] == meanings) & ~torch.eye(6, dtype=bool)
    masked, own = theirs.masked_fill(same, -math.inf), torch.arange(6)
    expected = (F.cross_entropy(masked, own) + F.cross_entropy(masked.T, own)) / 2
    expected.backward()
    ours = Tensor(asarray(z), requires_grad=True)
    loss = contrastive_loss(ours, meanings)
    loss.backward()
    assert abs(loss.item() - expected.item()) < 1e-12
    np.testing.assert_allclose(to_numpy(ours.grad), theirs.grad.numpy(), atol=1e-12)
