"""Where the time of a training step goes: kernels, ops around them, Python and everything else.

    python benchmarks/profile_step.py --only mnist
    python benchmarks/profile_step.py --only unet-122 --shapes     a line for each shape

Time is self time: a kernel called by an op, or by another kernel, counts for itself alone.  It is
the time of one process, whose helpers (see tinydiff/team) do the same to the rest of the batch
meanwhile; "cores busy" is its processor time over wall time of the same stretch.
The functions are wrapped from here; the library knows nothing of it.
"""

import functools
import inspect
import time
from collections import defaultdict
from collections.abc import Callable

import harness
import numpy as np
from cases import CASES

from tinydiff import kernels, ops
from tinydiff.team.helper import Helper

REST = "Python and everything else"


class Profile:
    """name → calls, wall seconds, processor seconds, not counting what was called inside"""

    def __init__(self, shapes: bool):
        self.shapes = shapes
        self.inside = []  # per open call: wall and processor seconds of the calls in it
        self.spent = defaultdict(lambda: np.zeros(3))

    def wrap(self, name: str, function: Callable, shapes: bool = False) -> Callable:
        @functools.wraps(function)
        def timed(*args, **settings):
            label = f"{name} {_shapes(args)}" if shapes and self.shapes else name
            self.inside.append(np.zeros(3))
            start = time.perf_counter(), time.process_time()
            try:
                return function(*args, **settings)
            finally:
                stop = time.perf_counter(), time.process_time()
                whole = np.array([0, stop[0] - start[0], stop[1] - start[1]])
                self.spent[label] += whole - self.inside.pop() + [1, 0, 0]
                if self.inside:
                    self.inside[-1] += whole

        return timed

    def wrap_kernels(self) -> None:
        for name, function in list(vars(kernels).items()):
            here = (getattr(function, "__module__", "") or "").startswith("tinydiff.kernels")
            if inspect.isfunction(function) and here and name[0] != "_":
                setattr(kernels, name, self.wrap(f"kernel {name}", function, shapes=True))

    def wrap_waiting(self) -> None:
        Helper.hear = self.wrap("waiting for helpers", Helper.hear)

    def wrap_ops(self) -> None:
        """The function inside each op, and the rules it returns."""
        modules = [m for m in vars(ops).values() if inspect.ismodule(m)]
        found = {f for m in modules for f in vars(m).values() if hasattr(f, "is_op")}
        for apply in found:
            cell = apply.__closure__[apply.__code__.co_freevars.index("function")]
            cell.cell_contents = self.wrapped_op(cell.cell_contents)

    def wrapped_op(self, function: Callable) -> Callable:
        name = function.__name__.lstrip("_")
        forward = self.wrap(f"op {name}", function)

        def both(*args, **settings):
            value, rules = forward(*args, **settings)
            backward = functools.partial(self.wrap, f"op {name}, backward")
            if callable(rules):
                return value, lambda needed: backward(rules(needed))
            return value, tuple(rule and backward(rule) for rule in rules)

        return functools.wraps(function)(both)

    def rows(self, steps: int) -> list[dict]:
        """The longest first; what takes less than a hundredth goes into one row."""
        spent = sorted(self.spent.items(), key=lambda entry: -entry[1][1])
        total = sum(numbers for _, numbers in spent)
        large = [(name, numbers) for name, numbers in spent if numbers[1] >= total[1] / 100]
        small = total - sum(numbers for _, numbers in large)
        return [
            {
                "self time of": name,
                "calls": round(calls / steps),
                "ms": wall / steps * 1e3,
                "share": f"{wall / total[1]:.1%}",
                "cores busy": cpu / wall,
            }
            for name, (calls, wall, cpu) in (*large, ("all others", small), ("a step", total))
        ]


def _shapes(args) -> str:
    """Shapes of the arrays, 32·16·16·128, and stride of a window where it is not 1."""
    found = ["·".join(map(str, a.shape)) for a in args if isinstance(a, np.ndarray)]
    strides = [getattr(a, "stride", (1, 1)) for a in args]
    return ", ".join(found) + "".join(f" /{s[0]}" for s in strides if s != (1, 1))


def main() -> None:
    parser = harness.options(__doc__, rounds=5)
    parser.add_argument("--shapes", action="store_true", help="kernels by the shapes of the arrays")
    args = harness.parse(parser)
    names = harness.chosen(CASES, args.only)
    profile = Profile(args.shapes)
    profile.wrap_kernels()
    profile.wrap_ops()
    profile.wrap_waiting()
    tables = {}
    for name in names:
        step = profile.wrap(REST, CASES[name].step())
        for _ in range(2):
            step()
        profile.spent.clear()
        for _ in range(args.rounds):
            step()
        tables[CASES[name].title] = profile.rows(args.rounds)
    harness.report("profile_step", tables, args.out)


if __name__ == "__main__":
    main()
