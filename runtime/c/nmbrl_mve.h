/* Four 32-bit lanes of what nmbrl_fixed_point.h computes, in instructions of Helium (Cortex-M55). */
#ifndef NMBRL_MVE_H
#define NMBRL_MVE_H

#include <arm_mve.h>
#include <stdint.h>

/* x * 2^shift to nearest, ties away from zero, for shifts of at most 0. VRSHL rounds ties upwards: negative numbers that
 * are shifted get one less first. */
static inline int32x4_t nmbrl_shift_lanes(int32x4_t x, int32x4_t shift) {
    const int32x4_t less = vshrq_n_s32(vandq_s32(x, shift), 31);
    return vrshlq_s32(vaddq_s32(x, less), shift);
}

/* The same where all shifts are below 0. */
static inline int32x4_t nmbrl_shift_all(int32x4_t x, int32_t shift) {
    return vrshlq_n_s32(vaddq_s32(x, vshrq_n_s32(x, 31)), shift);
}

/* Zero point and limits. */
static inline int32x4_t nmbrl_limit(int32x4_t x, int32_t zero_point, int32x4_t low, int32x4_t high) {
    return vminq_s32(vmaxq_s32(vaddq_n_s32(x, zero_point), low), high);
}

#endif
