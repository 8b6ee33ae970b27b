#include "nmbrl_real.h"

#include <stdint.h>
#include <string.h>

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Digit by digit on the significand: 24 bits of the root and one to round by, which is never a tie. */
float nmbrl_sqrt(float x) {
    const uint32_t bits = bits_of(x);
    if (bits < 0x00800000u) return 0.0f; /* subnormal numbers count as zero */
    int exponent = (int)(bits >> 23) - 127;
    uint64_t significand = (bits & 0x7fffffu) | 0x800000u;
    if (exponent & 1) {
        significand <<= 1;
        --exponent;
    }
    significand <<= 25; /* root of 2^48 .. 2^50: 25 bits */
    uint64_t root = 0;
    for (uint64_t bit = (uint64_t)1 << 24; bit; bit >>= 1) {
        const uint64_t trial = root | bit;
        if (trial * trial <= significand) root = trial;
    }
    const uint32_t rounded = (uint32_t)((root + 1) >> 1);
    return float_of(((uint32_t)(exponent / 2 + 127) << 23) + (rounded - 0x800000u));
}

/* x = n ln 2 + r with |r| <= ln 2 / 2; polynomial: least squares at Chebyshev points. */
float nmbrl_exp(float x) {
    if (x < -87.0f) return 0.0f;
    const int32_t n = (int32_t)(x * 0x1.715476p+0f - 0.5f);
    const float r = (x - (float)n * 0x1.62e4p-1f) - (float)n * 0x1.7f7d1cp-20f;
    float p = 0x1.6d4922p-10f;
    p = p * r + 0x1.121072p-7f;
    p = p * r + 0x1.5554e4p-5f;
    p = p * r + 0x1.5554d8p-3f;
    p = p * r + 0x1.0p-1f;
    const float value = 1.0f + (r + r * r * p);
    return value * float_of((uint32_t)(n + 127) << 23);
}

/* x = m 2^e with sqrt(1/2) <= m < sqrt(2); log(1 + f) = f - f^2 / 2 + f^3 P(f), P: least squares at Chebyshev points. */
float nmbrl_log(float x) {
    uint32_t bits = bits_of(x);
    int32_t e = (int32_t)(bits >> 23) - 127;
    bits = (bits & 0x7fffffu) | 0x3f800000u;
    if (bits > 0x3fb504f3u) { /* sqrt(2) */
        bits -= 0x00800000u;
        ++e;
    }
    const float f = float_of(bits) - 1.0f;
    float p = -0x1.39c982p-4f;
    p = p * f + 0x1.05dd32p-3f;
    p = p * f + -0x1.0d8cb8p-3f;
    p = p * f + 0x1.22c5c4p-3f;
    p = p * f + -0x1.546f18p-3f;
    p = p * f + 0x1.99a102p-3f;
    p = p * f + -0x1.000238p-2f;
    p = p * f + 0x1.555552p-2f;
    const float square = f * f;
    const float tail = square * f * p - 0.5f * square;
    return (float)e * 0x1.62e4p-1f + ((float)e * 0x1.7f7d1cp-20f + tail + f);
}
