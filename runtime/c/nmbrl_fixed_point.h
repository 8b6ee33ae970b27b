/* Fixed-point multiplication with two roundings, as TensorFlow Lite Micro's MultiplyByQuantizedMultiplier. */
#ifndef NMBRL_FIXED_POINT_H
#define NMBRL_FIXED_POINT_H

#include <stdint.h>

/* a * b / 2^31 to nearest, ties upwards; the factors here are never both INT32_MIN, so nothing saturates. */
static inline int32_t nmbrl_doubling_high(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

/* x / 2^bits to nearest, ties away from zero; 0 <= bits <= 31, |x| < 2^30. */
static inline int32_t nmbrl_shift_right(int32_t x, int bits) {
    const int32_t half = (int32_t)((1u << bits) >> 1);
    return (x + half + ((x >> 31) & -(bits > 0))) >> bits;
}

/* x * multiplier * 2^(shift - 31); -31 <= shift <= 31, bits that a positive shift moves out are lost. */
static inline int32_t nmbrl_rescale(int32_t x, int32_t multiplier, int shift) {
    const int32_t shifted = shift > 0 ? (int32_t)((uint32_t)x << shift) : x;
    return nmbrl_shift_right(nmbrl_doubling_high(shifted, multiplier), shift > 0 ? 0 : -shift);
}

static inline int8_t nmbrl_clamp(int32_t x, int32_t low, int32_t high) {
    return (int8_t)(x < low ? low : x > high ? high : x);
}

static inline int8_t nmbrl_look_up(const int8_t *table, int8_t index) {
    return table[(uint8_t)index];
}

#endif
