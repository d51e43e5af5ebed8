"""Vector quantisation: each place's latents become the nearest of K learned vectors, its code.

    k = argmin_j ‖z − e_j‖²,    z_q = e_k
    cost = ‖sg[z] − e_k‖² + β ‖z − sg[e_k]‖²          sg[·]: no gradient goes there

The choice has no derivative, so z is taught by what z_q would have needed: the gradient passes
straight through, as if z_q were z.  Codes learn from the first term, to lie where latents do; the
second commits the latents to their codes.  A code that no latents are near learns nothing, and
none will ever come near it: after ``patience`` steps without any it is put where some latents are,
and so are all of them at first.

Sources: A. van den Oord et al., "Neural Discrete Representation Learning", 2017, section 3.2,
equation 3; P. Dhariwal et al., "Jukebox", 2020, section 3 (codes put back to work).
"""

from __future__ import annotations

from tinydiff import backend, nn, ops
from tinydiff.backend import xp
from tinydiff.nn import init
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor

PATIENCE = 100


class VectorQuantiser(nn.Module):
    """Called as quantiser(z): z (N, …, channels) → z_q like z, and the cost (N,), over all places

    codes     K, how many vectors there are
    beta      β, how much a latent is committed to its code
    patience  steps in training after which a code that was not chosen is put elsewhere

    ``codebook`` (K, channels) are the vectors, ``unused`` (K,) the steps since each was chosen.
    """

    def __init__(self, codes: int, channels: int, *, beta: float = 0.25, patience: int = PATIENCE):
        at_least_one("VectorQuantiser", codes=codes, channels=channels, patience=patience)
        if not beta >= 0:
            raise ValueError(f"VectorQuantiser: beta is {beta}, expected ≥ 0")
        self.codebook = init.uniform((codes, channels), 1 / codes)
        self.register_buffer("unused", xp.full(codes, patience, xp.int64))
        self.codes, self.channels, self.beta, self.patience = codes, channels, beta, patience

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        self._check(z)
        if self.training:
            self._put_back_to_work(z.data.reshape(-1, self.channels))
        chosen = self.nearest(z)
        # A row with one 1 for each place: what a product with it picks, its transpose gives back.
        hot = (chosen.reshape(-1, 1) == xp.arange(self.codes)).astype(z.dtype)
        if self.training:
            self.unused[...] = xp.where(hot.sum(axis=0) > 0, 0, self.unused + 1)
        code = self.codebook.data[chosen]
        learned = ops.square(ops.matmul(hot, self.codebook).reshape(z.shape) - z.data)
        committed = ops.square(z - code)
        cost = (learned + self.beta * committed).reshape(len(z), -1).sum(axis=1)
        return z + (code - z.data), cost

    def nearest(self, z: Tensor):
        """The codes' numbers (N, …), integers on the device, of latents (N, …, channels)."""
        self._check(z)
        e = self.codebook.data
        # ‖z − e‖² without ‖z‖², which is the same for all codes
        distance = (e * e).sum(axis=1) - 2 * (z.data.reshape(-1, self.channels) @ e.T)
        return distance.argmin(axis=1).reshape(z.shape[:-1])

    def quantised(self, z: Tensor) -> Tensor:
        """The nearest codes themselves, like z, for pictures and not for learning."""
        return Tensor(self.codebook.data[self.nearest(z)])

    def _put_back_to_work(self, latents) -> None:
        """Codes not chosen for long take the place of latents (M, channels) of this batch."""
        picked = backend.asarray(backend.rng.integers(0, len(latents), self.codes))
        idle = self.unused >= self.patience
        book = self.codebook.data
        book[...] = xp.where(idle[:, None], latents[picked], book)
        self.unused[...] = xp.where(idle, 0, self.unused)

    def _check(self, z: Tensor) -> None:
        if z.ndim < 2 or z.shape[-1] != self.channels:
            raise ValueError(
                f"VectorQuantiser: z has shape {z.shape}, expected (N, …, {self.channels})"
            )
