"""Modules that hold other modules in a row, named "0", "1", "2" …"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tinydiff.nn.module import Module


class ModuleList(Module):
    """A list whose modules are found; it does not say how to compute with them."""

    def __init__(self, modules: Iterable[Module] = ()):
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: {module!r} is not a Module")
        setattr(self, str(len(self)), module)

    def __iter__(self) -> Iterator[Module]:
        return (value for name, value in vars(self).items() if name.isdecimal())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]


class Sequential(ModuleList):
    """Each module is applied to the answer of the one before."""

    def __init__(self, *modules: Module):
        super().__init__(modules)

    def forward(self, x):
        for module in self:
            x = module(x)
        return x
