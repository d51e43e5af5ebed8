// One step of an optimiser over flat arrays of n numbers, each read and written once.
//
// All of them do nothing where *unless is not 0: so a training need not ask after every step
// whether its numbers are still finite (see `look` below), and its weights are safe all the same.

extern "C" __global__ void sgd(
    real* theta, const real* grad, real* velocity, real lr, real momentum, int nesterov,
    real weight_decay, size n, const int* unless
) {
    if (unless && *unless) return;
    FOR_EACH(i, n) {
        real g = grad[i] + weight_decay * theta[i], u = g;
        if (velocity) u = velocity[i] = momentum * velocity[i] + g;
        theta[i] -= lr * (nesterov ? g + momentum * u : u);
    }
}

extern "C" __global__ void adam(
    real* theta, const real* grad, real* mean, real* square, real rate, real beta1, real beta2,
    real rest1, real rest2, real eps, real l2, real shrink, size n, const int* unless
) {
    if (unless && *unless) return;
    FOR_EACH(i, n) {
        real t = theta[i], g = grad[i] + l2 * t;
        real m = mean[i] = beta1 * mean[i] + rest1 * g;
        real v = square[i] = beta2 * square[i] + rest2 * g * g;
        theta[i] = shrink * t - rate * m / (sqrt(v) + eps);
    }
}

extern "C" __global__ void move_towards(
    real* average, const real* target, real fraction, size n, const int* unless
) {
    if (unless && *unless) return;
    FOR_EACH(i, n) average[i] += fraction * (target[i] - average[i]);
}

// Σ a²: a share for each block, then, by one block, the sum of the shares, added to the total.
extern "C" __global__ void squares(const real* a, double* shares, size n) {
    double sum = 0;
    FOR_EACH(i, n) sum += (double)a[i] * a[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) shares[blockIdx.x] = sum;
}

extern "C" __global__ void add_up(const double* shares, double* total, int n) {
    double sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += shares[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *total += sum;
}

// g ← g · max_norm / norm, where that is less than g and norm is finite
extern "C" __global__ void shrink(real* g, const double* norm, double max_norm, size n) {
    if (!(*norm > max_norm && isfinite(*norm))) return;
    real factor = max_norm / *norm;
    FOR_EACH(i, n) g[i] *= factor;
}

// The first number that is not finite: its step, what it is, and its value.
extern "C" __global__ void look(
    const real* value, int what, int step, int* first, double* noted
) {
    if (*first || isfinite(*value)) return;
    *first = step;
    noted[0] = what;
    noted[1] = *value;
}
