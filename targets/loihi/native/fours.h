/* Synapses event by event: messages in bytes, four at a time, times rows of weights without sign.

   A message is a sum of digits of -128 to 127 times powers of 256; a weight with a sign is 128 too large, which the sum of
   all messages takes back. */
#ifndef NMBRL_LOIHI_FOURS_H
#define NMBRL_LOIHI_FOURS_H

#include <immintrin.h>

#include "loihi.h"

#define INLINE static inline __attribute__((always_inline))
/* So that no sum needs an address. */
#define UNROLL _Pragma("GCC unroll 8")
/* Targets of a vector of bytes. */
#define COLUMNS 64
#define MOST_PLANES 4
#define MOST_PARTS 2

typedef __m512i fours[MOST_PLANES][MOST_PARTS][4];

/* Sum up digits times weights to `parts` times COLUMNS targets from the `first` on. */
INLINE void sum_fours(const wire *w, const events *e, int planes, int parts, int64_t first, fours sum)
{
    /* Of a column of COLUMNS targets, all sources follow one another. */
    int64_t column = (int64_t)w->sources * COLUMNS;
    const uint8_t *rows = w->rows + first / COLUMNS * column;
    UNROLL for (int plane = 0; plane < planes; plane++)
        UNROLL for (int part = 0; part < parts; part++)
            UNROLL for (int i = 0; i < 4; i++)
                sum[plane][part][i] = _mm512_set1_epi32(plane ? 0 : -w->excess * e->total);
    for (int64_t k = 0; k < e->count; k += 4) {
        const uint8_t *row[4];
        __m512i digits[4];
        UNROLL for (int i = 0; i < 4; i++)
            row[i] = rows + (uint64_t)e->sources[k + i] * COLUMNS;
        UNROLL for (int plane = 0; plane < planes; plane++)
            digits[plane] = _mm512_set1_epi32(*(const int32_t *)(e->digits + plane * e->stride + k));
        UNROLL for (int part = 0; part < parts; part++) {
            __m512i x[4], weights[4];
            UNROLL for (int i = 0; i < 4; i++)
                x[i] = _mm512_loadu_si512(row[i] + column * part);
            UNROLL for (int i = 0; i < 2; i++) {
                __m512i one = i ? _mm512_unpackhi_epi8(x[0], x[1]) : _mm512_unpacklo_epi8(x[0], x[1]);
                __m512i two = i ? _mm512_unpackhi_epi8(x[2], x[3]) : _mm512_unpacklo_epi8(x[2], x[3]);
                weights[2 * i] = _mm512_unpacklo_epi16(one, two);
                weights[2 * i + 1] = _mm512_unpackhi_epi16(one, two);
            }
            UNROLL for (int plane = 0; plane < planes; plane++)
                UNROLL for (int i = 0; i < 4; i++)
                    /* As an instruction, as compilers make copies of sums around the intrinsic. */
                    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum[plane][part][i]) : "v"(weights[i]), "v"(digits[plane]));
        }
    }
}

/* What arrives at the `i`-th BLOCK targets of these. */
INLINE __m512i finish_fours(const wire *w, int planes, int i, const fours sum)
{
    __m512i all = sum[planes - 1][i / 4][i % 4];
    UNROLL for (int plane = planes - 2; plane >= 0; plane--)
        all = _mm512_add_epi32(_mm512_slli_epi32(all, 8), sum[plane][i / 4][i % 4]);
    return _mm512_sra_epi32(
        _mm512_mullo_epi32(all, _mm512_set1_epi32(w->factor)), _mm_cvtsi32_si128(w->right_shift));
}

#endif
