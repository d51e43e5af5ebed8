"""A helper: a fork of this process that computes modules on its share of a batch when asked to.

It is asked for two things, and answers each before the next:

    forward    some images' inputs                → what the module, or a function of it, makes of
                                                    them
    backward   a forward's number, ∂L/∂output     → the gradients of its inputs, and, in memory
                                                    that both processes see, of the parameters

and says of each which tensors it reached, by their places: first come the parameters, then those
inputs that require grad.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import pkgutil
import signal
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable, Sequence

import numpy as np

from tinydiff import backend, kernels
from tinydiff.graph import births, made_since
from tinydiff.kernels import workers
from tinydiff.nn.module import Module, diverted
from tinydiff.recording import no_grad, recording
from tinydiff.team.line import End, Line, shared_views
from tinydiff.tensor import Tensor, node_of

_ours: weakref.WeakSet[Helper] = weakref.WeakSet()
# Held while a helper starts: one that was forked by another thread in the meantime would hold this
# one's line open, and neither would notice that it is to end.
_starting = threading.Lock()


class Helper:
    """This side of it.  The modules are known to both by their places in the lists.

    forgotten  numbers of forwards that no backward will come for: to be told at the next question
    """

    def __init__(self, modules: Sequence[Module], inside: Sequence[Module], parameters):
        self.forgotten: list[int] = []
        self.lost = False
        self._gradients = shared_views([p.data for p in parameters])
        # To be called when it has answered: what takes its core back, at the latest when nobody
        # holds the Answer any more.  None if it was not asked.
        self._asked: weakref.finalize | None = None
        with _starting:
            line = Line()
            self._process = _fork()
            if self._process == 0:
                try:
                    line.first.close()
                    _Work(modules, inside, parameters, self._gradients).serve(line.second)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(0)
            line.second.close()
            self._end = line.first
            _ours.add(self)

    def ask(self, words: dict, arrays: Sequence[np.ndarray]) -> Answer:
        """Set it to work; the Answer waits for it when it is looked at."""
        if self._asked is not None:  # for what was broken off since, or failed elsewhere
            self.hear()
        gone = RuntimeError(
            f"the helper process {self._process} is gone, or was ended because the model "
            "was changed since: compute this batch again"
        )
        if self.lost:
            raise gone
        forgotten, self.forgotten = self.forgotten, []
        self.lost = True  # unless all goes well: an answer nobody waits for must not be the next
        try:
            self._end.send({**words, "forget": forgotten}, arrays)
        except OSError:
            raise gone from None
        answer = Answer(self)
        self._asked = weakref.finalize(answer, workers.take_back)
        workers.lend()
        self.lost = False
        return answer

    def hear(self) -> tuple[dict, list]:
        """Wait for what it says, even if that is an error."""
        self.lost = True  # unless all goes well
        try:
            words, arrays = self._end.receive()
        except (EOFError, OSError):
            raise RuntimeError(
                f"the helper process {self._process} ended unexpectedly (was it killed, or "
                "was there no memory left?); TINYDIFF_NUM_THREADS=1 does without helpers"
            ) from None
        finally:
            self._is_free()
        self.lost = False
        return words, arrays

    def end(self) -> None:
        """Let it go; what it may be at nobody will ask for, and that can take long."""
        self.leave()
        # In a fork it is no child of ours, and in some programs the system buries children itself.
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(self._process, os.WNOHANG) == (0, 0):  # it lives
                os.kill(self._process, signal.SIGKILL)
                os.waitpid(self._process, 0)

    def leave(self) -> None:
        """Hang up.  After a fork, in the child, that is all: the helper is the parent's."""
        self.lost = True
        self._is_free()
        self._end.close()

    def _is_free(self) -> None:
        if self._asked is not None:
            self._asked()
            self._asked = None


def _fork() -> int:
    with warnings.catch_warnings():
        # From Python 3.12 on: other threads might hold locks.  The helper needs none of them:
        # those of the workers are made anew, and it leaves without tidying up.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _after_fork() -> None:
    global _starting
    _starting = threading.Lock()  # whoever held it stayed behind
    for helper in _ours:
        helper.leave()
    diverted.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Answer:
    """What a helper says to a question; valid until the next."""

    def __init__(self, helper: Helper):
        self._helper = helper

    @functools.cached_property
    def _content(self) -> tuple[dict, list]:
        words, arrays = self._helper.hear()
        if "error" in words:
            raise RuntimeError(f"a helper process failed:\n{words['error']}")
        return words, arrays

    @property
    def output(self) -> np.ndarray:
        """To forward: the module's output"""
        return self._content[1][0]

    @property
    def places(self) -> list[int]:
        """Those of the tensors that it reached."""
        return self._content[0]["places"]

    @functools.cached_property
    def gradients(self) -> dict[int, np.ndarray]:
        """To backward: those of the tensors at these places"""
        ours = self._helper._gradients
        of_parameters = {i: ours[i] for i in self.places if i < len(ours)}
        of_inputs = [i for i in self.places if i >= len(ours)]
        return of_parameters | dict(zip(of_inputs, self._content[1], strict=True))


def name_of(function: Callable) -> str:
    """By which `pkgutil.resolve_name` finds it in another process; ValueError if it does not."""
    name = f"{function.__module__}:{function.__qualname__}"
    with contextlib.suppress(ValueError, ImportError, AttributeError):
        if pkgutil.resolve_name(name) is function:
            return name
    raise ValueError(f"function: {name} is not found by its name, as one of a Python module is")


def computed(module: Module, inputs: Sequence, work: dict) -> Tensor:
    """module.forward(*inputs), or what ``work`` names in its place, with its settings"""
    if work["function"] is None:
        return module.forward(*inputs)
    return pkgutil.resolve_name(work["function"])(module, *inputs, **work["settings"])


class _Work:
    """The other side: what a helper does."""

    def __init__(self, modules, inside, parameters, gradients):
        self.modules, self.inside, self.parameters = modules, inside, parameters
        self.kept: dict[int, tuple[Tensor, list[Tensor]]] = {}
        for p, gradient in zip(parameters, gradients, strict=True):
            p._home = gradient
        workers.THREADS = 1

    def serve(self, end: End) -> None:
        """Answer until the other process hangs up, or is no more."""
        for ending in (signal.SIGINT, signal.SIGTERM):  # the other one will see to it, and hang up
            signal.signal(ending, signal.SIG_IGN)
        gc.freeze()  # what is garbage by now, its finalizers included, is the other one's
        with kernels.single_threaded_blas:
            while True:
                try:
                    words, arrays = end.receive()
                    try:
                        reply = self._answer(words, arrays)
                    except Exception:
                        reply = {"error": traceback.format_exc()}, []
                    end.send(*reply)
                except (EOFError, OSError):
                    return

    def _answer(self, words: dict, arrays: list) -> tuple[dict, list]:
        for call in words["forget"]:
            self.kept.pop(call, None)
        task = {"forward": self._forward, "backward": self._backward}[words["task"]]
        return task(words, arrays)

    def _forward(self, words: dict, arrays: list) -> tuple[dict, list]:
        for module, training in zip(self.inside, words["training"], strict=True):
            module.training = training
        for p, learned in zip(self.parameters, words["learned"], strict=True):
            p.requires_grad = learned
        backend.rng.bit_generator.state = words["random"]
        given, inputs = iter(arrays), []
        for kind in words["inputs"]:
            # The graph may keep an input for longer than the line keeps its memory.
            array = None if kind == "none" else np.array(next(given))
            inputs.append(array if kind in ("none", "array") else Tensor(array, kind == "learned"))
        record, began = recording() if words["record"] else no_grad(), next(births)
        with record, backend.seeing_part(*words["part"]):
            output = computed(self.modules[words["module"]], inputs, words["work"])
        learned = (x for x in inputs if isinstance(x, Tensor) and x.requires_grad)
        tensors, used = [*self.parameters, *learned], set()
        if words["record"]:
            self.kept[words["call"]] = output, tensors
        if output.requires_grad:
            _, used = made_since(began, node_of(output))
        places = [i for i, x in enumerate(tensors) if node_of(x) in used]
        return {"places": places}, [output.data]

    def _backward(self, words: dict, arrays: list) -> tuple[dict, list]:
        output, tensors = self.kept[words["call"]]
        for tensor in tensors:
            tensor.grad = None
        if output.requires_grad:
            output.backward(arrays[0], retain_graph=words["retain"])
        places = [i for i, x in enumerate(tensors) if x.grad is not None]
        of_inputs = [tensors[i].grad for i in places if i >= len(self.parameters)]
        return {"places": places}, of_inputs
