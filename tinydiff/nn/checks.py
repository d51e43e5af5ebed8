"""What a layer checks when it is made, and whoever is given a network; ops check shapes."""

from numbers import Integral

from tinydiff.nn.module import Module


def is_module(model) -> None:
    """Raise TypeError unless the model is a Module."""
    if not isinstance(model, Module):
        raise TypeError(f"model: expected a Module, got {type(model).__name__}")


def at_least_one(layer: str, **sizes: int) -> None:
    """Raise ValueError naming a size that is not an int ≥ 1."""
    for name, size in sizes.items():
        if not isinstance(size, Integral) or size < 1:
            raise ValueError(f"{layer}: {name} is {size!r}, expected an int ≥ 1")


def divides(layer: str, parts: str, n: int, **wholes: int) -> None:
    """Raise ValueError naming a whole that cannot be cut into n equal parts."""
    for name, whole in wholes.items():
        if whole % n:
            raise ValueError(f"{layer}: {parts} {n} does not divide {name} {whole}")
