"""What a layer checks when it is made; shapes of inputs are checked by the ops."""

from numbers import Integral


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
