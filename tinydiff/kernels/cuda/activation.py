"""SiLU and GELU on a GPU: one kernel each, see activation.cu"""

from tinydiff.kernels.cuda.source import Source

_kernels = Source("activation")


def silu(x):
    """x·σ(x)"""
    return _kernels.elementwise("silu", x)


def silu_grad(g, x):
    """g·(σ + x·σ·(1 − σ))"""
    return _kernels.elementwise("silu_grad", g, x)


def gelu(x):
    """x·Φ(x)"""
    return _kernels.elementwise("gelu", x)


def gelu_grad(g, x):
    """g·(Φ(x) + x·φ(x))"""
    return _kernels.elementwise("gelu_grad", g, x)
