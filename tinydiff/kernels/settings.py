"""TINYDIFF_KERNELS, read once: fast kernels, or the plain ones that can be read."""

import os

from tinydiff import backend

_wanted = os.environ.get("TINYDIFF_KERNELS", "").strip().lower() or "fast"
if _wanted not in ("fast", "plain"):
    backend.give_up(f"TINYDIFF_KERNELS is {_wanted!r}: set it to fast or plain.")
FAST = _wanted == "fast"
