// y = x·σ(x), and gx = g·(σ + x·σ·(1 − σ))

extern "C" __global__ void silu(const real* x, real* y, size n) {
    FOR_EACH(i, n) y[i] = x[i] * sigmoid(x[i]);
}

extern "C" __global__ void silu_grad(const real* g, const real* x, real* gx, size n) {
    FOR_EACH(i, n) {
        real s = sigmoid(x[i]);
        gx[i] = g[i] * (s + x[i] * s * (1 - s));
    }
}

// y = x·Φ(x), and gx = g·(Φ + x·φ), with Φ(x) = ½·erfc(−x/√2) and φ(x) = e^(−x²/2)/√(2π)

__device__ inline real normal_cdf(real x) { return erfc(x * (real)-0.70710678118654752) / 2; }

extern "C" __global__ void gelu(const real* x, real* y, size n) {
    FOR_EACH(i, n) y[i] = x[i] * normal_cdf(x[i]);
}

extern "C" __global__ void gelu_grad(const real* g, const real* x, real* gx, size n) {
    FOR_EACH(i, n) {
        real density = exp(-x[i] * x[i] / 2) * (real)0.39894228040143268;
        gx[i] = g[i] * (normal_cdf(x[i]) + x[i] * density);
    }
}
