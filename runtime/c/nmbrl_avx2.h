/* Eight 32-bit lanes of what nmbrl_fixed_point.h computes one by one. */
#ifndef NMBRL_AVX2_H
#define NMBRL_AVX2_H

#include <immintrin.h>
#include <stdint.h>

/* 16 bytes, widened to 16 bits. */
static inline __m256i nmbrl_load_wide(const int8_t *x) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)x));
}

/* Factors, zero point and limits of eight outputs. */
typedef struct {
    __m256i multiplier, half, shift, rounds, zero_point, low, high;
} nmbrl_lanes;

/* shift: at most 0 in every lane. */
static inline nmbrl_lanes nmbrl_make_lanes(__m256i multiplier, __m256i shift, int zero_point, int low, int high) {
    const __m256i right = _mm256_sub_epi32(_mm256_setzero_si256(), shift);
    const nmbrl_lanes lanes = {multiplier,
                               _mm256_srli_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), right), 1),
                               right,
                               _mm256_cmpgt_epi32(right, _mm256_setzero_si256()),
                               _mm256_set1_epi32(zero_point),
                               _mm256_set1_epi32(low),
                               _mm256_set1_epi32(high)};
    return lanes;
}

/* clamp(zero_point + doubled / 2 * factor) */
static inline __m256i nmbrl_requantise(__m256i doubled, const nmbrl_lanes *l) {
    const __m256i nudge = _mm256_set1_epi64x((int64_t)1 << 31);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(doubled, l->multiplier), nudge);
    const __m256i odd = _mm256_add_epi64(
        _mm256_mul_epi32(_mm256_srli_epi64(doubled, 32), _mm256_srli_epi64(l->multiplier, 32)), nudge);
    const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    const __m256i sign = _mm256_and_si256(_mm256_srai_epi32(high, 31), l->rounds);
    const __m256i rounded = _mm256_srav_epi32(_mm256_add_epi32(_mm256_add_epi32(high, l->half), sign), l->shift);
    const __m256i moved = _mm256_add_epi32(rounded, l->zero_point);
    return _mm256_min_epi32(_mm256_max_epi32(moved, l->low), l->high);
}

/* The low bytes of eight lanes, in order. */
static inline int64_t nmbrl_narrow(__m256i x) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    return _mm_cvtsi128_si64(_mm_packs_epi16(words, words));
}

static inline __m256i nmbrl_widen(const int8_t *x) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)x));
}

#endif
