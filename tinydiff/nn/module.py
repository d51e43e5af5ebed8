"""Module: a function with parameters, made of other modules.

A module finds its parameters, buffers and sub-modules among its own attributes, in the order in
which they were set.  A name is the path of attributes that leads to the thing:

    class Block(Module):
        def __init__(self):
            self.norm = GroupNorm(8, 64)          # norm.weight, norm.bias
            self.conv = Conv2d(64, 64, 3)         # conv.weight, conv.bias

        def forward(self, x):
            return self.conv(self.norm(x))

Something reachable on several paths is one thing: it is listed once, under the first.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tinydiff import backend
from tinydiff.nn import summary
from tinydiff.nn.state import fill
from tinydiff.nn.watch import tell_watchers
from tinydiff.tensor import Tensor


class Parameter(Tensor):
    """A tensor that belongs to a module and is learned; frozen, it still belongs to it."""

    __slots__ = ()

    def __init__(self, data):
        super().__init__(data, requires_grad=True)


# Who answers in a module's place, the last of them: see tinydiff/team.
diverted: weakref.WeakKeyDictionary[Module, list[Callable]] = weakref.WeakKeyDictionary()


class Module:
    """Subclass it: set layers and Parameters in ``__init__``, compute in ``forward``.

    training  whether layers such as Dropout and BatchNorm2d behave as in training

    independent_images  a class may promise that ``forward`` takes arrays or Tensors with an entry
        for each image (or None), returns one Tensor of as many entries, each of which depends on
        that image's entries alone, learns with Parameters only, reads no attribute that is changed
        inside (a dict's entry, say) nor any other switch, sets none, and draws random numbers with
        `ops.dropout` and `backend.randn` from the process's own generator, some for each image.
        Then several processes may share a batch, or a GPU be asked for all of it at once
        (tinydiff/team), given as positional arguments.
    """

    training = True
    independent_images = False
    _changes = 0  # of attributes other than ``training``: helpers, and records, are made anew
    _buffer_names: tuple[str, ...] = ()

    def forward(self, *inputs, **settings):
        return self.compute(*self.prepare(*inputs, **settings))

    def prepare(self, *inputs, **settings) -> tuple:
        """What `compute` is to be given for these inputs.

        For a module that looks at numbers, to check labels say: it defines ``prepare`` and
        ``compute`` in the place of ``forward``, and only ``prepare`` needs the host, so that a GPU
        can be asked for all of ``compute`` at once.
        """
        return inputs

    def compute(self, *inputs):
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *inputs, **settings):
        if diverted and self in diverted:
            output = diverted[self][-1](self, inputs, settings)
        else:
            output = self.forward(*inputs, **settings)
        tell_watchers(self, output)
        return output

    def __setattr__(self, name: str, value) -> None:
        if isinstance(value, (list, tuple, dict)):
            inside = value.values() if isinstance(value, dict) else value
            if any(isinstance(v, (Module, Parameter)) for v in inside):
                raise TypeError(
                    f"{type(self).__name__}.{name}: modules inside a {type(value).__name__} would "
                    "not be found; put them into a ModuleList"
                )
        object.__setattr__(self, name, value)
        if name != "training":
            object.__setattr__(self, "_changes", self._changes + 1)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        object.__setattr__(self, "_changes", self._changes + 1)

    def register_buffer(self, name: str, array) -> None:
        """Set an attribute that is saved with the module but not learned (running statistics)."""
        self._buffer_names = (*self._buffer_names, name)
        setattr(self, name, backend.asarray(array))

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """(path, module) for this module, whose path is "", and all inside it, outer ones first."""
        seen, stack = set(), [("", self)]
        while stack:
            path, module = stack.pop()
            if module not in seen:
                seen.add(module)
                yield path, module
                inside = [(n, m) for n, m in vars(module).items() if isinstance(m, Module)]
                stack.extend((_join(path, name), child) for name, child in reversed(inside))

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter), learned or frozen."""
        seen = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and value not in seen:
                    seen.add(value)
                    yield _join(path, name), value

    def named_buffers(self) -> Iterator[tuple[str, object]]:
        """(path, array) of everything set with `register_buffer`."""
        for path, module in self.named_modules():
            for name in module._buffer_names:
                yield _join(path, name), getattr(module, name)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def buffers(self) -> Iterator[object]:
        return (buffer for _, buffer in self.named_buffers())

    def num_parameters(self) -> int:
        """How many numbers the parameters hold together."""
        return sum(p.size for p in self.parameters())

    def state_dict(self) -> dict[str, np.ndarray]:
        """path → copy on the host, for every parameter and buffer."""
        return {name: np.array(backend.to_numpy(a)) for name, a in self._named_arrays()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy a `state_dict` into this module's arrays, in place.

        Raises ValueError that names entries which are missing, unknown, of another shape or not
        numeric, the first of them if they are many; then nothing has been changed.
        """
        fill(type(self).__name__, dict(self._named_arrays()), state)

    def train(self, mode: bool = True):
        """Behave as in training (or not), here and in all modules inside."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        """Behave as in evaluation: no dropout, running statistics."""
        return self.train(False)

    def requires_grad_(self, flag: bool = True):
        """Learn the parameters, or freeze them: a frozen parameter's gradient is not computed."""
        for parameter in self.parameters():
            parameter.requires_grad = flag
        return self

    def zero_grad(self) -> None:
        """Forget all gradients: ``grad`` is None until the next `backward`."""
        for parameter in self.parameters():
            parameter.grad = None

    def astype(self, dtype):
        """Convert parameters and floating-point buffers; do it before an optimiser holds them."""
        for module in self.modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    value.data, value.grad = value.data.astype(dtype), None
                elif name in module._buffer_names and value.dtype.kind == "f":
                    setattr(module, name, value.astype(dtype))
        return self

    def summary(self, *inputs, **settings) -> str:
        """A table of layers: path, type, output shape, parameters.

        Runs the module once on the inputs, in evaluation mode and without a graph.
        """
        return summary.table(self, inputs, settings)

    def __repr__(self) -> str:
        lines = []
        for name, value in vars(self).items():
            if isinstance(value, Module):
                lines.append(f"{name}={value!r}".replace("\n", "\n  "))
            elif isinstance(value, Parameter):
                lines.append(f"{name}={value.shape}")
            elif isinstance(value, (int, float, str, tuple)) and name[0] != "_":
                lines.append(f"{name}={value!r}")
        nested = any("\n" in line for line in lines) or sum(map(len, lines)) > 80
        inside = "".join(f"\n  {line}," for line in lines) + "\n" if nested else ", ".join(lines)
        return f"{type(self).__name__}({inside})"

    def _named_arrays(self) -> Iterator[tuple[str, object]]:
        yield from ((name, parameter.data) for name, parameter in self.named_parameters())
        yield from self.named_buffers()


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
