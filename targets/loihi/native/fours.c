/* Synapses event by event: messages in bytes, four at a time, times rows of weights without sign.

   A message is a sum of digits of -128 to 127 times powers of 256; a weight with a sign is 128 too large, which the sum of
   all messages takes back. */
#include "loihi.h"

#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
/* So that no sum needs an address. */
#define UNROLL _Pragma("GCC unroll 8")
/* Targets of a vector of bytes. */
#define COLUMNS 64

int nmbrl_loihi_has_fours(void)
{
    return 1;
}

/* Deliver to `parts` times COLUMNS targets from the `first` on. */
INLINE void deliver_columns(const wire *w, const events *e, int planes, int parts, int32_t first, int32_t *to)
{
    const uint8_t *rows = w->rows + first;
    int64_t stride = (w->targets + COLUMNS - 1) / COLUMNS * COLUMNS;
    __m512i sum[4][2][4];
    UNROLL for (int plane = 0; plane < planes; plane++)
        UNROLL for (int part = 0; part < parts; part++)
            UNROLL for (int i = 0; i < 4; i++)
                sum[plane][part][i] = _mm512_set1_epi32(plane ? 0 : -w->excess * e->total);
    for (int32_t k = 0; k < e->count; k += 4) {
        const uint8_t *row[4];
        __m512i digits[4];
        UNROLL for (int i = 0; i < 4; i++)
            row[i] = rows + e->sources[k + i] * stride;
        UNROLL for (int plane = 0; plane < planes; plane++)
            digits[plane] = _mm512_set1_epi32(*(const int32_t *)(e->digits + plane * e->stride + k));
        UNROLL for (int part = 0; part < parts; part++) {
            __m512i x[4], weights[4];
            UNROLL for (int i = 0; i < 4; i++)
                x[i] = _mm512_loadu_si512(row[i] + COLUMNS * part);
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
    UNROLL for (int32_t i = 0; i < 4 * parts; i++) {
        if (first + i * BLOCK >= w->targets)
            break;
        int32_t *place = to + first + i * BLOCK;
        __m512i all = sum[planes - 1][i / 4][i % 4];
        UNROLL for (int plane = planes - 2; plane >= 0; plane--)
            all = _mm512_add_epi32(_mm512_slli_epi32(all, 8), sum[plane][i / 4][i % 4]);
        all = _mm512_sra_epi32(
            _mm512_mullo_epi32(all, _mm512_set1_epi32(w->factor)), _mm_cvtsi32_si128(w->right_shift));
        _mm512_storeu_si512(place, _mm512_add_epi32(_mm512_loadu_si512(place), all));
    }
}

INLINE void deliver_rows(const wire *w, const events *e, int planes, int most, int32_t *to)
{
    int32_t t = 0;
    for (; most == 2 && t + 2 * COLUMNS <= w->targets; t += 2 * COLUMNS)
        deliver_columns(w, e, planes, 2, t, to);
    for (; t < w->targets; t += COLUMNS)
        deliver_columns(w, e, planes, 1, t, to);
}

void deliver_events(const wire *w, const events *e, int32_t *to)
{
    if (e->planes == 1)
        deliver_rows(w, e, 1, 2, to);
    else if (e->planes == 2)
        deliver_rows(w, e, 2, 2, to);
    else if (e->planes == 3)
        deliver_rows(w, e, 3, 1, to);
    else
        deliver_rows(w, e, 4, 1, to);
}

#else

int nmbrl_loihi_has_fours(void)
{
    return 0;
}

void deliver_events(const wire *w, const events *e, int32_t *to)
{
    (void)w, (void)e, (void)to;
}

#endif
