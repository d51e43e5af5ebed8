"""What all attacks have in common: their door, and how they ask a network.

The door wants a network of pictures in [0, 1] (see `on_pictures`), and leaves it as it was: its
parameters, their gradients and its mode.  Inside, the network is held still (`nn.frozen`), so that
an attack sees no dropout and pays for no weight's gradient, and all cores share its pictures.
"""

from __future__ import annotations

import contextlib
import functools
import math
import pkgutil
from collections.abc import Callable, Iterator

import numpy as np

from tinydiff import backend, kernels, ops
from tinydiff.adversarial.ball import NORMS
from tinydiff.adversarial.pictures import OnPictures
from tinydiff.backend import xp
from tinydiff.checks import positive
from tinydiff.nn import Module, frozen
from tinydiff.nn.checks import is_module
from tinydiff.ops.checks import integers
from tinydiff.recording import no_grad, recording
from tinydiff.team import name_of, team_of
from tinydiff.tensor import Tensor, grad

RULED_OUT = -1e9  # for a logit that is not to be the largest

# The Team of the model attacked last, and the model, are held until another one is attacked: to
# start helpers takes as long as a step, and the next attack is usually on the same.
_kept_team = functools.lru_cache(maxsize=1)(team_of)


@contextlib.contextmanager
def attacking(model: Module, x) -> Iterator[Callable]:
    """Around all that an attack asks of the model about pictures x.

    Yields ``together``: together(function, *arrays, **settings) is function(model, *arrays,
    **settings), each process with its share of the pictures.  The arrays and the one that the
    function returns have an entry for each picture, which depends on that picture alone; what else
    is asked of function and settings, `Team.share` says.
    """
    wrapped = type(model) is OnPictures  # which a helper can make anew, around what it knows
    with (
        frozen(model),
        recording(),
        kernels.single_threaded_blas,
        _kept_team(model) as team,
        backend.memory_for(len(x)),
    ):

        def together(function: Callable, *arrays, **settings):
            words = {"function": name_of(function), "wrapped": wrapped, "settings": settings}
            return team.share(_of, model.model if wrapped else model, arrays, words).data

        yield together


def _of(network: Module, *arrays, function: str, wrapped: bool, settings: dict) -> Tensor:
    """What `attacking` does together, of a network or of the `OnPictures` around it"""
    model = OnPictures(network) if wrapped else network
    return Tensor(pkgutil.resolve_name(function)(model, *arrays, **settings))


def checked(model: Module, x, y, eps: float, norm: float = math.inf) -> tuple:
    """The pictures as an array of the backend and the labels as one of the host, or an error.

    Raises TypeError or ValueError as `asked` does, and unless y are integers (N,) below K, eps > 0
    (`math.inf` for as far as it takes), and the norm one of ``NORMS``.
    """
    if eps != math.inf:
        positive(eps=eps)
    if norm not in NORMS:
        raise ValueError(f"norm is {norm!r}, expected math.inf or 2")
    x, classes = asked(model, x)
    y = labels(y, len(x))
    if not 0 <= y.min() <= y.max() < classes:
        raise ValueError(
            f"y: classes run from {y.min()} to {y.max()}, the model knows 0 … {classes - 1}"
        )
    return x, y


def labels(y, pictures: int) -> np.ndarray:
    """y, a class for each of so many pictures, as int64 (N,) on the host, or an error.

    Raises TypeError for other than integers, ValueError for another shape.
    """
    y = backend.to_numpy(integers(y))
    if y.dtype.kind not in "iu":
        raise TypeError(f"y: expected classes as integers, got {y.dtype}")
    if y.shape != (pictures,):
        raise ValueError(f"y has shape {y.shape}, expected a class for each picture, ({pictures},)")
    return y.astype(np.int64)


def asked(model: Module, x) -> tuple:
    """The pictures as an array of the backend, and how many classes the model knows.

    Raises TypeError or ValueError unless the model is a Module whose answer to (N, H, W, C) is
    (N, K), K ≥ 2, and x `pictures`.
    """
    is_module(model)
    x = pictures(x)
    try:
        with frozen(model), no_grad():
            answer = model(x[:1]).shape
    except TypeError as error:
        theirs = {p.dtype for p in model.parameters()}
        if x.dtype in theirs or not theirs:
            raise
        names = " or ".join(sorted(map(str, theirs)))
        raise TypeError(f"x: pictures are {x.dtype}, the model's parameters {names}") from error
    if len(answer) != 2 or answer[1] < 2:
        raise ValueError(
            f"model: answers a picture with shape {answer}, expected logits (1, K), K ≥ 2"
        )
    return x, answer[1]


def pictures(x):
    """x as an array of the backend; raises unless it is (N, H, W, C) of floats in [0, 1]."""
    x = backend.asarray(x.data if isinstance(x, Tensor) else x)
    if x.dtype.kind != "f":
        raise TypeError(f"x: expected floats in [0, 1], got {x.dtype} (images.to_float(x, (0, 1)))")
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"x has shape {x.shape}, expected pictures (N, H, W, C)")
    low, high = float(x.min()), float(x.max())
    if not 0 <= low <= high <= 1:  # written so that NaN fails too
        raise ValueError(f"x: expected pictures in [0, 1], got {low:.4g} … {high:.4g}")
    return x


def logits_of(model: Module, x):
    """model(x), without a graph, as an array of the backend: (N, K)"""
    with no_grad():
        return model(x).data


def is_fooled(logits, y: np.ndarray, targeted: bool = False) -> np.ndarray:
    """Which pictures are taken for something else than y, or, targeted, for y: bool (N,), host"""
    return (backend.to_numpy(logits.argmax(axis=1)) == y) == targeted


def loss_gradient(model: Module, x, y: np.ndarray, draws: int = 1):
    """The gradient of each picture's cross-entropy −ln p_y with respect to it: (N, H, W, C)

    draws  the mean of so many, of a model in whose answers chance has a hand
    """
    x = Tensor(x, requires_grad=True)
    losses = (ops.cross_entropy(model(x), y, reduction="sum") for _ in range(draws))
    return sum(grad(loss, x) for loss in losses) / draws


def one_hot(y: np.ndarray, classes: int):
    """True at each picture's class: bool (N, K), an array of the backend"""
    return xp.asarray(y[:, None] == np.arange(classes))


def margin(logits: Tensor, y: np.ndarray) -> Tensor:
    """Z_y − max_{i≠y} Z_i, (N,): how far each picture is from being taken for something else

    Unlike the cross-entropy, which hardly changes any more where a network is sure.
    """
    own = one_hot(y, logits.shape[1])
    others = ops.where(own, RULED_OUT, logits)
    return (logits * own).sum(axis=1) - others.max(axis=1)
