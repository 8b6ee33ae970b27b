/* Fixed-point multiplication with two roundings, as TensorFlow Lite Micro's MultiplyByQuantizedMultiplier. */
#ifndef NMBRL_FIXED_POINT_H
#define NMBRL_FIXED_POINT_H

#include <stdint.h>

/* doubled / 2 * b / 2^31 to nearest, ties upwards: the factors here are positive, so nothing saturates. */
static inline int32_t nmbrl_high(int32_t doubled, int32_t b) {
    return (int32_t)(((int64_t)doubled * b + ((int64_t)1 << 31)) >> 32);
}

/* x / 2^bits to nearest, ties away from zero; 0 <= bits <= 31, |x| < 2^30. */
static inline int32_t nmbrl_shift_right(int32_t x, int bits) {
    const int32_t half = (int32_t)((1u << bits) >> 1);
    return (x + half + ((x >> 31) & -(bits > 0))) >> bits;
}

/* doubled / 2 * multiplier * 2^(shift - 31); -31 <= shift <= 0, |doubled| < 2^31. */
static inline int32_t nmbrl_rescale(int32_t doubled, int32_t multiplier, int shift) {
    return nmbrl_shift_right(nmbrl_high(doubled, multiplier), -shift);
}

/* Twice x and, where a factor is above one, its shift; bits that this moves out are lost. */
static inline int32_t nmbrl_double(int32_t x, int shift) { return (int32_t)((uint32_t)x << (shift > 0 ? shift + 1 : 1)); }

static inline int nmbrl_right(int shift) { return shift > 0 ? 0 : shift; }

static inline int8_t nmbrl_clamp(int32_t x, int32_t low, int32_t high) {
    return (int8_t)(x < low ? low : x > high ? high : x);
}

static inline int8_t nmbrl_look_up(const int8_t *table, int8_t index) {
    return table[index];
}

#endif
