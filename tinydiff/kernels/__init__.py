"""Raw-array inner loops, without derivatives: the plain ones to read, the fast ones to run."""

from tinydiff.kernels.plain import *  # noqa: F403
from tinydiff.kernels.special import erf
from tinydiff.kernels.window import Window, pair
