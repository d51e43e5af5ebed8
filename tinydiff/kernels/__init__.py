"""Raw-array inner loops, without derivatives: plain ones to read, fast ones to run.

Every kernel has a plain form (`plain`), which is its equation and runs on NumPy and CuPy in any
floating dtype.  Fast forms with the same result are chosen by shape: for NumPy in `host`, for CuPy
in `cuda`; ``TINYDIFF_KERNELS=plain`` turns that off.
"""

from tinydiff import backend
from tinydiff.kernels.memory import keep_freed_memory
from tinydiff.kernels.plain import pad, sigmoid
from tinydiff.kernels.settings import FAST
from tinydiff.kernels.window import Window, pair
from tinydiff.kernels.workers import single_threaded_blas

if FAST and backend.name == "cupy":
    from tinydiff.kernels import cuda as chosen
else:
    from tinydiff.kernels import host as chosen

    if FAST:
        keep_freed_memory()

add, concatenate = chosen.add, chosen.concatenate
sum_blocks, sum_picked = chosen.sum_blocks, chosen.sum_picked
matmul, linear, matmul_t, sum_rows = (
    chosen.matmul,
    chosen.linear,
    chosen.matmul_t,
    chosen.sum_rows,
)
conv2d, conv2d_grads = chosen.conv2d, chosen.conv2d_grads
conv2d_input_grad, conv2d_weight_grad = chosen.conv2d_input_grad, chosen.conv2d_weight_grad
max_pool, max_pool_grad = chosen.max_pool, chosen.max_pool_grad
relu, relu_grad = chosen.relu, chosen.relu_grad
silu, silu_grad, gelu, gelu_grad = (
    chosen.silu,
    chosen.silu_grad,
    chosen.gelu,
    chosen.gelu_grad,
)
group_norm, group_norm_grad = chosen.group_norm, chosen.group_norm_grad
sgd, adam, move_towards = chosen.sgd, chosen.adam, chosen.move_towards
norm, shrink, Finite = chosen.norm, chosen.shrink, chosen.Finite
softmax, attention, attention_grad = chosen.softmax, chosen.attention, chosen.attention_grad
dropout = chosen.dropout
Recorder, is_capturing = chosen.Recorder, chosen.is_capturing
