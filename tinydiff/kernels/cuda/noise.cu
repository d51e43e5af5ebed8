// Random numbers by their place: Philox-4x32-10 makes four 32-bit words of a 128-bit counter and a
// 64-bit key, so that any of them can be had at any time, in any order.
//
// Source: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011, section 3.3.

struct Words {
    unsigned word[4];
};

// The counter's low half is the position, its high half says in which stream of numbers.
__device__ inline Words philox(size position, size stream, size key) {
    Words c = {{(unsigned)position, (unsigned)(position >> 32),
                (unsigned)stream, (unsigned)(stream >> 32)}};
    unsigned k0 = (unsigned)key, k1 = (unsigned)(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned high0 = __umulhi(0xD2511F53u, c.word[0]), low0 = 0xD2511F53u * c.word[0];
        unsigned high1 = __umulhi(0xCD9E8D57u, c.word[2]), low1 = 0xCD9E8D57u * c.word[2];
        c = {{high1 ^ c.word[1] ^ k0, low1, high0 ^ c.word[3] ^ k1, low0}};
        k0 += 0x9E3779B9u;  // Weyl sequences: the golden ratio and √3 − 1
        k1 += 0xBB67AE85u;
    }
    return c;
}

extern "C" __global__ void words(unsigned* y, size n, size key, size position, size stream) {
    FOR_EACH(i, n / 4) {
        Words w = philox(position + i, stream, key);
        for (int k = 0; k < 4; k++) y[4 * i + k] = w.word[k];
    }
}

// Numbers first, first + 1, … of a key.  1024 of them come from 256 positions: a thread makes four
// that are 256 apart, so that neighbours write side by side.
#define FOUR_NUMBERS(at, value, body) \
    FOR_EACH(i, (first % 1024 + n + 1023) / 1024 * 256) { \
        Words w = philox(first / 1024 * 256 + i, 0, key); \
        _Pragma("unroll") for (int k = 0; k < 4; k++) { \
            size at = i / 256 * 1024 + k * 256 + i % 256 - first % 1024; \
            real value = (w.word[k] >> 8) * (real)5.9604644775390625e-8; /* 24 bits, in [0, 1) */ \
            if (at >= 0 && at < n) body; \
        } \
    }

extern "C" __global__ void uniform(real* y, size n, size key, size first) {
    FOUR_NUMBERS(at, u, y[at] = u)
}

// y = x·scale where the number is ≥ p, else 0
extern "C" __global__ void dropout(
    const real* __restrict__ x, real* __restrict__ y, size n, size key, size first,
    real p, real scale
) {
    FOUR_NUMBERS(at, u, y[at] = u < p ? 0 : x[at] * scale)
}
