/* A vector of leaky neurons goes through a step: the equations of targets/loihi/spiking.py. */
#ifndef NMBRL_LOIHI_LEAKY_H
#define NMBRL_LOIHI_LEAKY_H

#include "loihi.h"

#if defined(__AVX512BW__)
#include <immintrin.h>

#define TOWARD_ZERO (_MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)

/* tz(x * (4096 - decay), 12) of |x| < 2^24: a float's mantissa holds it, and its product rounded toward zero. */
static inline __m512i decayed_vector(__m512i x, __m512 keep)
{
    return _mm512_cvttps_epi32(_mm512_mul_round_ps(_mm512_cvtepi32_ps(x), keep, TOWARD_ZERO));
}

/* The same of any x. */
static inline __m512i decayed_wide(__m512i x, __m512i decay)
{
    int32_t numbers[16], decays[16];
    _mm512_storeu_si512(numbers, x);
    _mm512_storeu_si512(decays, decay);
    for (int i = 0; i < 16; i++)
        numbers[i] = decayed(numbers[i], decays[i]);
    return _mm512_loadu_si512(numbers);
}

/* Parameters of 16 neurons from the `first` on, or in 16 lanes of one. */
static inline __attribute__((always_inline)) __m512i parameter_at(const int32_t *parameter, int32_t first, int is_one)
{
    return is_one ? _mm512_set1_epi32(parameter[first]) : _mm512_loadu_si512(parameter + first);
}

/* Change u and v by what arrives; `given` null where nothing ever was. Return which send, and in `below` which send -1.
   `parameter` is the population's, in local variables: compilers would look them up for every vector. */
static inline __attribute__((always_inline)) __mmask16 step_leaky(
    const int32_t *const parameter[9], int32_t first, int is_one, int32_t *u, int32_t *v, const int32_t *given,
    __m512i arriving, int ternary, __mmask16 *below)
{
    const __m512i range = _mm512_set1_epi32(1 << 24), half = _mm512_set1_epi32(1 << 23);
    const __m512i lowest = _mm512_set1_epi32(1 - (1 << 23)), highest = _mm512_set1_epi32((1 << 23) - 1);
    __m512i old_u = _mm512_loadu_si512(u), old_v = _mm512_loadu_si512(v), current, potential, bias;
    __m512i magnitudes = _mm512_or_si512(_mm512_abs_epi32(old_u), _mm512_abs_epi32(old_v));
    if (__builtin_expect(_mm512_test_epi32_mask(magnitudes, _mm512_set1_epi32(-1 << 24)) == 0, 1)) {
        current = decayed_vector(old_u, _mm512_castsi512_ps(parameter_at(parameter[7], first, is_one)));
        potential = decayed_vector(old_v, _mm512_castsi512_ps(parameter_at(parameter[8], first, is_one)));
    } else {
        current = decayed_wide(old_u, parameter_at(parameter[0], first, is_one));
        potential = decayed_wide(old_v, parameter_at(parameter[1], first, is_one));
    }
    current = _mm512_add_epi32(current, _mm512_slli_epi32(arriving, 6));
    __mmask16 over = _mm512_cmpgt_epi32_mask(current, half), under = _mm512_cmplt_epi32_mask(current, lowest);
    current = _mm512_mask_sub_epi32(current, over, current, range);
    current = _mm512_mask_add_epi32(current, under, current, range);
    if (given)
        bias = _mm512_sllv_epi32(
            _mm512_add_epi32(parameter_at(parameter[2], first, is_one), _mm512_loadu_si512(given)),
            parameter_at(parameter[3], first, is_one));
    else
        bias = parameter_at(parameter[6], first, is_one);
    potential = _mm512_add_epi32(_mm512_add_epi32(potential, current), bias);
    potential = _mm512_min_epi32(_mm512_max_epi32(potential, lowest), highest);
    __mmask16 sends = _mm512_cmpgt_epi32_mask(potential, parameter_at(parameter[4], first, is_one));
    *below = ternary ? _mm512_cmplt_epi32_mask(potential, parameter_at(parameter[5], first, is_one)) : 0;
    sends |= *below;
    _mm512_storeu_si512(u, current);
    _mm512_storeu_si512(v, _mm512_maskz_mov_epi32((__mmask16)~sends, potential));
    return sends;
}

/* The same of u and v that are floats, which hold every integer below 2^24, where u does not leave 24 bits; returns which
   send 1. What is added last need not be exact beyond 2^24, as v is clipped. */
static inline __attribute__((always_inline)) __mmask16 step_floats(
    __m512 keeps_u, __m512 keeps_v, __m512 bias, __m512 threshold, float *u, float *v, __m512i arriving)
{
    const __m512 highest = _mm512_set1_ps((1 << 23) - 1), lowest = _mm512_set1_ps(1 - (1 << 23));
    __m512 current = _mm512_roundscale_ps(_mm512_mul_round_ps(_mm512_loadu_ps(u), keeps_u, TOWARD_ZERO), TOWARD_ZERO);
    __m512 potential = _mm512_roundscale_ps(_mm512_mul_round_ps(_mm512_loadu_ps(v), keeps_v, TOWARD_ZERO), TOWARD_ZERO);
    current = _mm512_fmadd_ps(_mm512_cvtepi32_ps(arriving), _mm512_set1_ps(64), current);
    potential = _mm512_add_ps(_mm512_add_ps(potential, current), bias);
    potential = _mm512_min_ps(_mm512_max_ps(potential, lowest), highest);
    __mmask16 sends = _mm512_cmp_ps_mask(potential, threshold, _CMP_GT_OQ);
    _mm512_storeu_ps(u, current);
    _mm512_storeu_ps(v, _mm512_mask_mov_ps(potential, sends, _mm512_setzero_ps()));
    return sends;
}

#endif

#endif
