"""A number in the network, named by module path and unit: what every method here asks about.

    Unit("stages.1.conv2", 7, (3, 5))     a neuron: channel 7 at row 3, column 5
    Unit("stages.1.conv2", 7)             a channel: the mean over its pixels
    Unit("stages.1.conv2")                a layer: the mean over all its channels and pixels
    logit(7)                              Unit("", 7), for "" is the path of the network itself
    log_probability(7)                    ln p_7, p the softmax of the logits

An *objective* is a function (model, x) → Tensor (N,): for each picture of the batch x a number that
depends on that picture alone.  A Unit is one, and wherever a Unit is asked for, any other will do:

    lambda model, x: (activation(model, x, "stages.1") ** 2).sum(axis=(1, 2, 3)) / 2
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral

from tinydiff import ops
from tinydiff.nn import Module, watching
from tinydiff.nn.checks import is_module
from tinydiff.tensor import Tensor

Objective = Callable[[Module, Tensor], Tensor]


@dataclass(frozen=True)
class Unit:
    """One neuron, channel or layer; called as unit(model, x), it is an objective.

    layer    the path of a module whose answer is one Tensor (N, …, C); "" is the model's own
    channel  which of the C, or None for the mean of all
    place    indices of the axes between N and C, (row, column) in a map; None for the mean of all
    """

    layer: str = ""
    channel: int | None = None
    place: tuple[int, ...] | None = None

    def __call__(self, model: Module, x: Tensor) -> Tensor:
        """(N,), in the graph.  ValueError for a layer, channel or place that does not exist."""
        return self.of(activation(model, x, self.layer))

    def of(self, answer: Tensor) -> Tensor:
        """The unit's numbers (N,), from its layer's answer."""
        *between, channels = answer.shape[1:]
        if self.place is not None:
            place = tuple(self.place)
            fits = len(place) == len(between) and all(map(_is_index, place, between))
            if not fits:
                raise ValueError(
                    f"place {place}: expected an index for each of {tuple(between)}, "
                    f"the pixels of {_called(self.layer)}"
                )
            answer = answer[(slice(None), *place)]
        if self.channel is not None:
            answer = answer[..., checked_channel(self.layer, self.channel, channels)]
        return answer.reshape(len(answer), -1).mean(axis=1)


def logit(label: int) -> Unit:
    """What a classifier says for a class, before the softmax."""
    return Unit("", label)


class _LogProbability(Unit):
    def of(self, answer: Tensor) -> Tensor:
        """ln of the softmax of logits (N, C): (N,)"""
        return ops.log_softmax(answer)[:, checked_channel("", self.channel, answer.shape[-1])]


def log_probability(label: int) -> Unit:
    """How sure a classifier is of a class: it grows with what speaks for this class, and shrinks
    with what speaks for others, which a logit does not ask about."""
    return _LogProbability("", label)


def activation(model: Module, x: Tensor, layer: str) -> Tensor:
    """What the layer answers when the model sees x: a Tensor in x's graph.

    Raises ValueError, and lists the layers there are, if it is none of them, or is not called.
    """
    (answer,) = activations(model, x, [layer])
    return answer


def activations(model: Module, x: Tensor, layers: Sequence[str]) -> list[Tensor]:
    """What each of these layers answers in one and the same call; raises as `activation`."""
    with contextlib.ExitStack() as stack:
        heard = [stack.enter_context(listening(model, layer)) for layer in layers]
        model(x)
    return [answer() for answer in heard]


@contextlib.contextmanager
def listening(model: Module, layer: str) -> Iterator[Callable[[], Tensor]]:
    """``with listening(model, layer) as heard: …`` then heard() is the layer's last answer.

    Raises ValueError, and lists the layers there are, if it is none of them; so does heard() for
    one that was not called, and TypeError for one whose answer is not a Tensor.
    """
    module, answers = layer_named(model, layer), []

    def note(caller: Module, answer) -> None:
        if caller is module:
            answers[:] = [answer]

    def heard() -> Tensor:
        if not answers:
            raise ValueError(f"{_called(layer)} is not called when the network is")
        if not isinstance(answers[0], Tensor) or answers[0].ndim < 2:
            got = getattr(answers[0], "shape", type(answers[0]).__name__)
            raise TypeError(f"{_called(layer)} answers {got}, expected one Tensor (N, …, C)")
        return answers[0]

    with watching(note):
        yield heard


def layer_named(model: Module, layer: str) -> Module:
    """The module of this path, "" for the model.  ValueError, with those there are, if none has;
    TypeError unless the model is a Module."""
    is_module(model)
    modules = dict(model.named_modules())
    if layer not in modules:
        names = ", ".join(path for path in modules if path)
        raise ValueError(f"layer: {type(model).__name__} has none named {layer!r}; it has {names}")
    return modules[layer]


def checked_channel(layer: str, channel: int, channels: int) -> int:
    """``channel``, or ValueError if the layer, which has so many, has none of that number."""
    if not _is_index(channel, channels):
        raise ValueError(f"channel {channel!r}: {_called(layer)} has 0 … {channels - 1}")
    return channel


def _is_index(index: int, size: int) -> bool:
    return isinstance(index, Integral) and 0 <= index < size


def _called(layer: str) -> str:
    return f"layer {layer!r}" if layer else "the network's own answer"
