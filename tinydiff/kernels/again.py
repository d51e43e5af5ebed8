"""Work on arrays that stay where they are, done again and again with new numbers in them.

On a GPU it is recorded, and asked for as a whole (see kernels/cuda/graph.py); here it is called.
"""

from collections.abc import Callable


class Recorder:
    """Returns, of work, a function that does it again, on the same arrays.

    It is done once here when it is recorded, and on a GPU it is not.
    """

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        work()
        return work

    def close(self) -> None:
        """Nothing that was recorded is wanted any more."""


def is_capturing() -> bool:
    """Is what is asked for now only written down?  Never here."""
    return False
