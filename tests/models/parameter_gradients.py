"""Gradients of a network's parameters against finite differences, one parameter at a time."""

from __future__ import annotations

from collections.abc import Callable

import tinydiff as td
from tinydiff.backend import randn


def check_parameters(model, loss: Callable, *, without: tuple[str, ...] = ()) -> None:
    """``loss()`` is a scalar of the float64 model, and hangs on all but ``without``."""
    model.zero_grad()
    loss().backward()
    for name, parameter in model.named_parameters():
        original = parameter.data
        direction = randn(parameter.shape, dtype=original.dtype)
        sides = []
        for h in (1e-6, -1e-6):
            parameter.data = original + h * direction
            with td.no_grad():
                sides.append(loss().item())
        parameter.data = original
        expected = (sides[0] - sides[1]) / 2e-6
        got = float((parameter.grad * direction).sum())
        assert abs(got - expected) <= 1e-6 * max(1, abs(expected)), f"{name}: {got} {expected}"
        if name not in without:
            assert abs(expected) > 1e-5, f"{name} changes nothing"
