"""Work on arrays that stay where they are, done again and again with new numbers in them.

On a GPU it is recorded, and asked for as a whole (see kernels/cuda/graph.py); here it is called.
"""

from collections.abc import Callable


class Recorder:
    """record(work) → what does the work: reads the same arrays, and writes the same"""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        work()
        return work


def is_capturing() -> bool:
    """Is what is asked for now only written down?  Never here."""
    return False
