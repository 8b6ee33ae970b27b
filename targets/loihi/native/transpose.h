/* Numbers of 16 lanes: lane by lane, as they are stored, and number by number, as vectors take them. */
#ifndef NMBRL_LOIHI_TRANSPOSE_H
#define NMBRL_LOIHI_TRANSPOSE_H

#include <immintrin.h>

#include "loihi.h"

/* Sixteen rows of sixteen numbers. */
static inline __attribute__((always_inline)) void transpose(__m512i *x)
{
    __m512i y[16];
    for (int i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int k = 0; k < 2; k++) {
            x[i + 2 * k] = _mm512_unpacklo_epi64(y[i + k], y[i + 2 + k]);
            x[i + 2 * k + 1] = _mm512_unpackhi_epi64(y[i + k], y[i + 2 + k]);
        }
    for (int i = 0; i < 4; i++) {
        y[i] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x88);
        y[i + 4] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xdd);
        y[i + 8] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x88);
        y[i + 12] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        x[i] = _mm512_shuffle_i32x4(y[i], y[i + 8], 0x88);
        x[i + 8] = _mm512_shuffle_i32x4(y[i], y[i + 8], 0xdd);
    }
}

static inline __mmask16 first_of(int32_t left)
{
    return left >= VECTOR ? 0xffff : (__mmask16)((1 << left) - 1);
}

/* From rows of numbers of `lanes` lanes, `stride` apart, to vectors, `step` apart, with zeros for other lanes; as floats
   where wanted. Return whether none is farther from 0 than `most`. */
static inline __attribute__((always_inline)) int gather_as(
    int floats, const int32_t *rows, int64_t stride, int lanes, int32_t size, int32_t *to, int32_t step, int32_t most)
{
    __m512i largest = _mm512_setzero_si512();
    for (int32_t n = 0; n < size; n += VECTOR) {
        __m512i x[VECTOR];
        for (int lane = 0; lane < VECTOR; lane++) {
            x[lane] = lane < lanes ? _mm512_maskz_loadu_epi32(first_of(size - n), rows + lane * stride + n)
                                   : _mm512_setzero_si512();
            largest = _mm512_max_epu32(largest, _mm512_abs_epi32(x[lane]));
        }
        transpose(x);
        for (int i = 0; i < VECTOR && n + i < size; i++)
            _mm512_storeu_si512(to + (n + i) * step, floats ? _mm512_castps_si512(_mm512_cvtepi32_ps(x[i])) : x[i]);
    }
    return _mm512_cmpgt_epu32_mask(largest, _mm512_set1_epi32(most)) == 0;
}

static inline int gather(
    const int32_t *rows, int64_t stride, int lanes, int32_t size, int32_t *to, int32_t step, int32_t most)
{
    return gather_as(0, rows, stride, lanes, size, to, step, most);
}

static inline int gather_floats(
    const int32_t *rows, int64_t stride, int lanes, int32_t size, int32_t *to, int32_t step, int32_t most)
{
    return gather_as(1, rows, stride, lanes, size, to, step, most);
}

/* And back. */
static inline void scatter(
    const int32_t *from, int32_t step, int32_t size, int64_t stride, int lanes, int32_t *rows, int are_floats)
{
    for (int32_t n = 0; n < size; n += VECTOR) {
        __m512i x[VECTOR];
        for (int i = 0; i < VECTOR; i++) {
            x[i] = n + i < size ? _mm512_loadu_si512(from + (n + i) * step) : _mm512_setzero_si512();
            x[i] = are_floats ? _mm512_cvttps_epi32(_mm512_castsi512_ps(x[i])) : x[i];
        }
        transpose(x);
        for (int lane = 0; lane < lanes; lane++)
            _mm512_mask_storeu_epi32(rows + lane * stride + n, first_of(size - n), x[lane]);
    }
}

#endif
