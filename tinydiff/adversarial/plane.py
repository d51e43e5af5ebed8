"""Planes through the space of pictures: the one way to look at what a network makes of all of it.

    x(u, v) = origin + u·e₁ + v·e₂,        e₁, e₂ of length 1, e₁·e₂ = 0

So distances in the plane are distances between pictures, in L2.  Two directions say which plane:
those to two other pictures, or that of the loss's gradient and one drawn at random.

Few points of a plane are pictures, with all of their pixels in [0, 1].  The others are clipped to
[0, 1], as an attack would; `Plane.holds` tells which are not.

Sources: I. Goodfellow et al., "Qualitatively characterizing neural network optimization problems",
ICLR 2015, for the idea of such cuts; Y. Liu et al., "Delving into transferable adversarial
examples", ICLR 2017, section 5 (the gradient and a random direction).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

ROUNDING = 1e-6  # by which a picture's pixels may leave [0, 1]
PALE, FULL = 0.1, 0.6  # how much colour there is where a network guesses, and where it is sure


class Plane:
    """The plane through a picture along two directions, which are made orthonormal, the first kept.

    origin, first, second  (H, W, C) on the host; the plane through three pictures is
                           Plane(a, b − a, c − a)

    All raise ValueError for arrays that do not fit, or directions that span no plane.
    """

    def __init__(self, origin: np.ndarray, first: np.ndarray, second: np.ndarray):
        if not (origin.ndim == 3 and origin.shape == first.shape == second.shape):
            raise ValueError(
                "origin, first, second: expected one shape (H, W, C), "
                f"got {origin.shape}, {first.shape} and {second.shape}"
            )
        self.origin = origin.astype(np.float64)
        given, axes = np.stack([first, second]).reshape(2, -1).astype(np.float64), []
        for direction in given:
            rest = direction
            for axis in axes + axes:  # twice: the first time leaves rounding errors
                rest = rest - (rest @ axis) * axis
            if not np.linalg.norm(rest) > 1e-6 * np.linalg.norm(direction):  # NaN fails too
                raise ValueError("first and second: expected two directions, got less than that")
            axes.append(rest / np.linalg.norm(rest))
        self.axes = np.stack(axes)

    def coordinates(self, pictures: np.ndarray) -> np.ndarray:
        """(u, v) of the points of the plane that are nearest to pictures (N, H, W, C): (N, 2)"""
        if pictures.shape[1:] != self.origin.shape:
            raise ValueError(
                f"pictures: expected shape (N, *{self.origin.shape}), got {pictures.shape}"
            )
        return (pictures - self.origin).reshape(len(pictures), -1) @ self.axes.T

    def pictures(self, points: np.ndarray, dtype=np.float32) -> np.ndarray:
        """What lies at (u, v), points (N, 2), clipped to [0, 1]: (N, H, W, C)"""
        return np.clip(self._at(points), 0, 1).astype(dtype)

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Whether what lies at points (N, 2) is a picture before it is clipped: bool (N,)"""
        x = self._at(points).reshape(len(points), -1)
        return (x.min(axis=1) >= -ROUNDING) & (x.max(axis=1) <= 1 + ROUNDING)

    def _at(self, points: np.ndarray) -> np.ndarray:
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"points: expected shape (N, 2), got {points.shape}")
        return self.origin + (points @ self.axes).reshape(-1, *self.origin.shape)


class Map(NamedTuple):
    """What a network says on a grid of a plane.

    u, v     the places along the axes, (W,) and (H,), v upwards
    shares   (H, W, K), how likely each class is, [0, 0] at the lowest u and v
    inside   bool (H, W), where nothing had to be clipped
    """

    u: np.ndarray
    v: np.ndarray
    shares: np.ndarray
    inside: np.ndarray

    def ahead(self, k: int) -> np.ndarray:
        """How far k is ahead of the best other class, (H, W): its boundary is where this is 0"""
        return self.shares[..., k] - np.delete(self.shares, k, axis=-1).max(axis=-1)

    def nearest_other(self, points: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """The place of the grid nearest to each point (N, 2) that is not seen as its class: (N, 2)

        NaN where there is none, the point itself where it lies in such a place.
        Raises ValueError unless there is a class for each point.
        """
        if points.shape != (len(classes), 2):
            raise ValueError(f"points: expected shape ({len(classes)}, 2), got {points.shape}")
        seen, step = self.shares.argmax(axis=-1), (self.u[1] - self.u[0], self.v[1] - self.v[0])
        result = np.full(points.shape, np.nan)
        for i, point in enumerate(points):
            rows, columns = np.nonzero(seen != classes[i])
            if len(rows):
                off = np.stack([self.u[columns], self.v[rows]], axis=1) - point
                nearest = off[np.hypot(*off.T).argmin()]
                inside = (np.abs(nearest) <= np.divide(step, 2)).all()
                result[i] = point if inside else point + nearest
        return result

    def coloured(self, colours: np.ndarray) -> np.ndarray:
        """A picture, (H, W, 3) in [0, 1]: a colour for each class, darker where it is surer

        colours  (K, 3) in [0, 1], or more

        Raises ValueError for fewer than there are classes.
        """
        classes = self.shares.shape[-1]
        if len(colours) < classes or colours.shape[1:] != (3,):
            raise ValueError(f"colours: expected shape ({classes}, 3), got {colours.shape}")
        sure = (self.shares.max(axis=-1, keepdims=True) - 1 / classes) / (1 - 1 / classes)
        strength = PALE + (FULL - PALE) * sure
        return 1 - strength * (1 - colours[self.shares.argmax(axis=-1)])


def map_of(plane: Plane, answer: Callable, u: np.ndarray, v: np.ndarray) -> Map:
    """What is seen on the grid of u (W,) and v (H,) in a plane.

    answer  answer(x) → how likely each class is, (N, K), of pictures (N, H, W, C) in [0, 1], on the
            host: `probabilities` of a network, or shares of the draws of `Smoothed.counts`

    Raises ValueError unless there are two places at least along each axis.
    """
    if min(u.shape + v.shape) < 2 or (u.ndim, v.ndim) != (1, 1):
        raise ValueError(f"u, v: expected two places or more each, got shapes {u.shape}, {v.shape}")
    points = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
    shares = answer(plane.pictures(points))
    shape = len(v), len(u)
    return Map(u, v, shares.reshape(*shape, -1), plane.holds(points).reshape(shape))
