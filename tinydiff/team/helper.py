"""A helper: a fork of this process that computes modules on its share of a batch when asked to.

It is asked for two things, and answers each before the next:

    forward    some images' inputs                → the module's output for them
    backward   a forward's number, ∂L/∂output     → the gradients of its inputs, and, in memory
                                                    that both processes see, of the parameters
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import traceback
import warnings
import weakref
from collections.abc import Sequence

import numpy as np

from tinydiff import backend, kernels
from tinydiff.kernels import workers
from tinydiff.nn.module import Module, diverted
from tinydiff.team.line import End, Line, shared_views
from tinydiff.tensor import Tensor, no_grad, recording

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
        self._asked: Answer | None = None
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
            self._asked.receive()
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
        self._asked = Answer(self)
        workers.lend()
        self.lost = False
        return self._asked

    def end(self) -> None:
        """Let it go, as soon as it has finished what it is at."""
        if self._asked is not None:
            workers.take_back()
            self._asked = None
        self.lost = True
        self._end.close()
        if self._process:
            with contextlib.suppress(ChildProcessError):  # where the system buries children itself
                os.waitpid(self._process, 0)

    def leave(self) -> None:
        """After a fork, in the child: the helper is the parent's."""
        self._end.close()
        self.lost, self._asked, self._process = True, None, 0


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
        self._helper, self._content = helper, None

    def fetch(self) -> tuple[list, dict[int, np.ndarray]]:
        """The arrays, and the gradients of those parameters, by their places, that have one."""
        if self._content is None:
            words, arrays = self.receive()
            if "error" in words:
                raise RuntimeError(f"a helper process failed:\n{words['error']}")
            gradients = {i: self._helper._gradients[i] for i in words["gradients"]}
            self._content = arrays, gradients
        return self._content

    def receive(self) -> tuple[dict, list]:
        """Wait for what the helper says, even if that is an error."""
        helper = self._helper
        helper.lost = True  # unless all goes well
        helper._asked = None
        try:
            words, arrays = helper._end.receive()
        except (EOFError, OSError):
            raise RuntimeError(
                f"the helper process {helper._process} ended unexpectedly (was it killed, or "
                "was there no memory left?); TINYDIFF_NUM_THREADS=1 does without helpers"
            ) from None
        finally:
            workers.take_back()
        helper.lost = False
        return words, arrays


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
        gc.freeze()
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
        record = recording() if words["record"] else no_grad()
        with record, backend.seeing_part(*words["part"]):
            output = self.modules[words["module"]].forward(*inputs)
        if output.requires_grad:
            self.kept[words["call"]] = output, inputs
        return {"gradients": []}, [output.data]

    def _backward(self, words: dict, arrays: list) -> tuple[dict, list]:
        output, inputs = self.kept[words["call"]]
        learned = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
        for tensor in (*learned, *self.parameters):
            tensor.grad = None
        output.backward(arrays[0], retain_graph=words["retain"])
        reached = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        gradients = [np.zeros_like(x.data) if x.grad is None else x.grad for x in learned]
        return {"gradients": reached}, gradients
