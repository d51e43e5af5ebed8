"""Losses.  reduction: "mean" over all elements (the default), "sum", or "none"."""

from tinydiff import backend, kernels
from tinydiff.backend import xp
from tinydiff.ops import checks
from tinydiff.ops.arithmetic import abs as _abs
from tinydiff.ops.arithmetic import exp, square
from tinydiff.ops.reduction import mean
from tinydiff.ops.reduction import sum as _sum
from tinydiff.tensor import Tensor, op


def reduce(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return mean(loss)
    if reduction == "sum":
        return _sum(loss)
    if reduction == "none":
        return loss
    raise ValueError(f"reduction is {reduction!r}, expected 'mean', 'sum' or 'none'")


def same_shape(name: str, a, b) -> None:
    # Broadcasting a (N, 1) prediction against (N,) targets is a classic silent mistake.
    if xp.shape(a) != xp.shape(b):
        raise ValueError(
            f"{name}: prediction {xp.shape(a)} and target {xp.shape(b)} differ in shape"
        )


def mse_loss(prediction: Tensor, target, *, reduction: str = "mean") -> Tensor:
    """(prediction − target)²"""
    same_shape("mse_loss", prediction, target)
    return reduce(square(prediction - target), reduction)


def l1_loss(prediction: Tensor, target, *, reduction: str = "mean") -> Tensor:
    """|prediction − target|"""
    same_shape("l1_loss", prediction, target)
    return reduce(_abs(prediction - target), reduction)


def huber_loss(
    prediction: Tensor, target, *, delta: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """½r² where |r| ≤ δ, δ(|r| − ½δ) beyond, with r = prediction − target    (Huber 1964)"""
    same_shape("huber_loss", prediction, target)
    if not delta > 0:
        raise ValueError(f"huber_loss: delta is {delta}, expected > 0")
    return reduce(_huber(prediction - target, delta=delta), reduction)


@op
def _huber(r, *, delta):
    size = xp.abs(r)
    y = xp.where(size <= delta, 0.5 * r * r, delta * (size - 0.5 * delta))
    return y, (lambda g: g * xp.clip(r, -delta, delta),)


def cross_entropy(
    logits: Tensor,
    labels,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """−Σ_k q_k ln softmax(logits)_k with q = (1 − s)·one_hot(label) + s/C

    logits (…, C), labels integers (…) in 0 … C−1, or ``ignore_index``, which counts for nothing:
    not in the mean either.
    """
    labels = checks.integers(labels)
    checks.floating("cross_entropy", "logits", logits)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: labels must be integers, got {labels.dtype}")
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"cross_entropy: labels {labels.shape} do not match logits {logits.shape} "
            "without their last axis"
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing}, expected 0 … 1")
    counted = labels == labels if ignore_index is None else labels != ignore_index
    wrong = counted & ((labels < 0) | (labels >= logits.shape[-1]))
    if wrong.any():
        raise ValueError(
            f"cross_entropy: label {int(labels[wrong][0])} is outside 0 … {logits.shape[-1] - 1}"
        )
    count = labels.size if ignore_index is None else int(counted.sum())
    loss = _cross_entropy(
        logits,
        labels=backend.asarray(labels),
        counted=backend.asarray(counted),
        smoothing=label_smoothing,
    )
    if reduction == "mean":
        if count == 0:
            raise ValueError("cross_entropy: every label is ignore_index, the mean is undefined")
        return _sum(loss) / count
    return reduce(loss, reduction)


@op
def _cross_entropy(logits, *, labels, counted, smoothing):
    rows = logits.reshape(-1, logits.shape[-1])
    chosen = xp.arange(len(rows)), xp.where(counted, labels, 0).reshape(-1)
    shifted = rows - rows.max(axis=-1, keepdims=True)
    log_p = shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))
    # Without smoothing, only the label's: another class may be ruled out by a logit of −∞.
    cost = (1 - smoothing) * log_p[chosen]
    if smoothing:
        cost += smoothing * log_p.mean(axis=-1)

    def rule(g):
        # The derivative with respect to the logits, not the probabilities: p − q.
        slope = xp.exp(log_p)
        slope -= smoothing / rows.shape[1]
        slope[chosen] -= 1 - smoothing
        slope *= xp.where(counted, g, 0).reshape(-1, 1)
        return slope.reshape(logits.shape)

    return xp.where(counted, -cost.reshape(labels.shape), 0), (rule,)


def binary_cross_entropy_with_logits(logits: Tensor, target, *, reduction: str = "mean") -> Tensor:
    """−t ln σ(z) − (1 − t) ln(1 − σ(z)) = max(z, 0) − z·t + ln(1 + e^−|z|), t in [0, 1]"""
    same_shape("binary_cross_entropy_with_logits", logits, target)
    return reduce(_binary_cross_entropy(logits, target), reduction)


@op
def _binary_cross_entropy(z, t):
    y = xp.maximum(z, 0) - z * t + xp.log1p(xp.exp(-xp.abs(z)))
    return y, (lambda g: g * (kernels.sigmoid(z) - t), lambda g: -g * z)


def kl_diagonal_gaussians(
    mean1: Tensor, log_var1, mean2, log_var2, *, reduction: str = "mean"
) -> Tensor:
    """KL(N(μ₁, e^{l₁}) ‖ N(μ₂, e^{l₂})) in nats, per element

    ½ (l₂ − l₁ + e^{l₁ − l₂} + (μ₁ − μ₂)² e^{−l₂} − 1)

    Any of them but μ₁ may be a number.
    """
    if not isinstance(log_var2, Tensor):  # exp of a bare 0.0 would know nothing of mean1's dtype
        log_var2 = Tensor(backend.asarray(log_var2, mean1.dtype))
    ratio = log_var1 - log_var2
    kl = 0.5 * (exp(ratio) - ratio - 1.0 + square(mean1 - mean2) * exp(-log_var2))
    return reduce(kl, reduction)
