"""Winograd's F(4×4, 3×3): the equations and matrices of a 3×3 convolution with 4× fewer products.

Take one axis.  A 3-tap filter w times a polynomial of 4 coefficients v is one of 6 coefficients,
and such a product is determined by its values at 6 points, where it is a product of numbers: with
G and A for evaluating w and v, and B for interpolation, it is B[(G w) ⊙ (A v)].  For a fixed w this
is a linear map of v, and its transpose is the correlation that a convolution layer is:

    y = Aᵀ[(G w) ⊙ (Bᵀ x)]        x: 6 inputs, w: 3 taps, y: 4 outputs, 6 multiplications

In two dimensions the same matrices act on rows and columns, Y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A: 36
multiplications for 16 outputs where the definition has 144.  With many channels, ⊙ followed by the
sum over channels is 36 matrix products (tiles × C) @ (C × filters).

The map is linear in x and in w, so the gradients are its transposes.  The input gradient is the
same convolution of g, with the kernel turned by 180°.  The weight gradient is a correlation of x
with g, in which either may be the one that is cut into overlapping tiles; with g in that place,

    ∂/∂w, turned = Gᵀ [ Σ_tiles (Bᵀ g B) ⊙ (A x Aᵀ) ] G,

and both gradients share Bᵀ g B, so they are computed together.

The price is rounding, and the points set it: with 0, ±3/4, ±3/2, ∞ relative errors are 1e-6 to
3e-6 in float32, a quarter of those with the usual 0, ±1, ±2, ∞.

Source: A. Lavin & S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016; on the
points, B. Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution for
deep neural networks", ACM Trans. Math. Softw. 46, 2020.
"""

import numpy as np

POINTS = (0, -3 / 4, -3 / 2, 3 / 4, 3 / 2)  # and ∞, which comes fourth: 0, −a, −b, ∞, a, b


def _matrices():
    """Bᵀ (6, 6), G (6, 3) and A (6, 4), a row for each point"""
    others = [[q for q in POINTS if q != p] for p in POINTS]
    bt = [[*np.poly(roots)[::-1], 0] for roots in others]
    g = [
        np.array([1, p, p**2]) / np.prod(np.subtract(p, roots))
        for p, roots in zip(POINTS, others, strict=True)
    ]
    a = [[1, p, p**2, p**3] for p in POINTS]
    at_infinity = np.poly(POINTS)[::-1], [0, 0, 1], [0, 0, 0, 1]
    return [np.array([*m[:3], row, *m[3:]]) for m, row in zip((bt, g, a), at_infinity, strict=True)]


BT, G, A = _matrices()
