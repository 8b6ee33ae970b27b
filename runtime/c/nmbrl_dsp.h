/* What nmbrl_fixed_point.h computes, in instructions of the DSP extension (Cortex-M4, M7). */
#ifndef NMBRL_DSP_H
#define NMBRL_DSP_H

#include <stdint.h>

#include "nmbrl_fixed_point.h"

/* doubled / 2 * b / 2^31 to nearest, ties upwards. */
static inline int32_t nmbrl_high_word(int32_t doubled, int32_t b) {
    int32_t high;
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(doubled), "r"(b));
    return high;
}

/* Saturates to int8. */
static inline int32_t nmbrl_saturate(int32_t x) {
    int32_t saturated;
    __asm__("ssat %0, #8, %1" : "=r"(saturated) : "r"(x));
    return saturated;
}

/* Bytes 0 and 2 of a word, widened to a pair of 16-bit numbers; then bytes 1 and 3. */
static inline uint32_t nmbrl_even_bytes(uint32_t word) {
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
}

static inline uint32_t nmbrl_odd_bytes(uint32_t word) {
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

/* Both 16-bit numbers of a pair times two. */
static inline uint32_t nmbrl_double_pair(uint32_t pair) {
    uint32_t doubled;
    __asm__("sadd16 %0, %1, %1" : "=r"(doubled) : "r"(pair));
    return doubled;
}

/* sum plus the products of the numbers of two pairs. */
static inline int32_t nmbrl_multiply_pairs(uint32_t a, uint32_t b, int32_t sum) {
    int32_t total;
    __asm__("smlad %0, %1, %2, %3" : "=r"(total) : "r"(a), "r"(b), "r"(sum));
    return total;
}

static inline uint32_t nmbrl_load_word(const int8_t *x) {
    uint32_t word;
    __builtin_memcpy(&word, x, sizeof word); /* one load, also where memcpy is a call */
    return word;
}

/* A factor, zero point and limits, ready for use. */
typedef struct {
    int32_t multiplier;
    int32_t offset; /* half a step and the zero point, before the shift */
    int right;
    int low, high;
    int simple; /* whether nmbrl_apply_simple computes it */
} nmbrl_factor;

static inline nmbrl_factor nmbrl_make_factor(int32_t multiplier, int shift, int zero_point, int low, int high) {
    const int right = shift < 0 ? -shift : 0;
    const int simple = right > 0 && right <= 20 && low == -128 && high == 127;
    const int32_t half = (int32_t)((1u << right) >> 1);
    const nmbrl_factor f = {multiplier, simple ? half + zero_point * (1 << right) : zero_point, right, low, high, simple};
    return f;
}

/* clamp(zero_point + doubled / 2 * factor), right shifts from 1 to 20, all of int8. Ties go away from zero because negative
 * numbers get one less; where doubled is negative and its product is 0, this changes nothing. */
static inline int32_t nmbrl_apply_simple(int32_t doubled, int32_t multiplier, int32_t offset, int right) {
    int32_t x;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(x) : "r"(doubled), "r"(multiplier), "r"(offset));
    return nmbrl_saturate((x + (doubled >> 31)) >> right);
}

/* Whether a shift and limits are what nmbrl_apply_short computes. */
static inline int nmbrl_is_short(int shift, int low, int high) {
    return shift >= -12 && shift <= -2 && low == -128 && high == 127;
}

/* What shifts and rounds in one multiplication by 2^-32: 2^(32 + shift) + 2^(12 + shift). The second term carries ties away
 * from zero, and nothing else over while results are below 256. */
static inline int32_t nmbrl_short_factor(int shift) { return (int32_t)(0x00100001u << (12 + shift)); }

/* clamp(zero_point + doubled / 2 * multiplier * 2^(shift - 31)) */
static inline int32_t nmbrl_apply_short(int32_t doubled, int32_t multiplier, int32_t factor, int32_t zero_point) {
    int32_t x = nmbrl_high_word(doubled, multiplier);
    __asm__("smmlar %0, %0, %1, %2" : "+r"(x) : "r"(factor), "r"(zero_point));
    return nmbrl_saturate(x);
}

/* The same for any factor. */
static inline int32_t nmbrl_apply(int32_t doubled, const nmbrl_factor *f) {
    if (f->simple) return nmbrl_apply_simple(doubled, f->multiplier, f->offset, f->right);
    const int32_t x = nmbrl_shift_right(nmbrl_high_word(doubled, f->multiplier), f->right) + f->offset;
    return x < f->low ? f->low : x > f->high ? f->high : x;
}

#endif
