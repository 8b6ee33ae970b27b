/* What a population sends in a lane, as its synapses take it: a list of what is not 0, pairs of 16 bits, digits; or along a
   diagonal as it is. */
#include "loihi.h"

#if defined(__AVX512BW__)
#include <immintrin.h>

/* Which of 16 neurons from the i-th on there are. */
static inline __mmask16 inside(int32_t i, int32_t size)
{
    return size - i >= BLOCK ? 0xffff : size > i ? (__mmask16)((1 << (size - i)) - 1) : 0;
}

void list_messages(const int32_t *messages, int32_t size, int32_t *counts, events *to)
{
    __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i bits = _mm512_setzero_si512(), signs = bits, total = bits;
    uint16_t *sources = to->sources;
    int32_t *values = to->values, count = 0;
    for (int32_t i = 0; i < size; i += BLOCK) {
        __m512i x = _mm512_maskz_loadu_epi32(inside(i, size), messages + i);
        __mmask16 sends = _mm512_test_epi32_mask(x, x);
        bits = _mm512_or_si512(bits, _mm512_xor_si512(x, _mm512_srai_epi32(x, 31)));
        signs = _mm512_or_si512(signs, x);
        total = _mm512_add_epi32(total, x);
        _mm256_storeu_si256(
            (__m256i *)(sources + count), _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(sends, place)));
        _mm512_storeu_si512(values + count, _mm512_maskz_compress_epi32(sends, x));
        count += __builtin_popcount(sends);
        place = _mm512_add_epi32(place, _mm512_set1_epi32(BLOCK));
        if (counts) {
            __m512i before = _mm512_loadu_si512(counts + i);
            _mm512_storeu_si512(counts + i, _mm512_mask_add_epi32(before, sends, before, _mm512_set1_epi32(1)));
        }
    }
    _mm256_storeu_si256((__m256i *)(sources + count), _mm256_setzero_si256());
    _mm512_storeu_si512(values + count, _mm512_setzero_si512());
    to->count = count;
    to->bits = _mm512_reduce_or_epi32(bits);
    to->signs = _mm512_reduce_or_epi32(signs);
    to->total = _mm512_reduce_add_epi32(total);
    to->planes = 0;
}

int32_t pair_up(
    const int32_t *messages, int32_t size, int32_t shift, int32_t mask, int32_t *pairs, int32_t *active)
{
    __m512i kept = _mm512_set1_epi32(mask), place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m128i by = _mm_cvtsi32_si128(shift);
    int32_t count = 0;
    for (int32_t i = 0; i < size; i += 32) {
        __m512i half[2];
        for (int h = 0; h < 2; h++) {
            half[h] = _mm512_maskz_loadu_epi32(inside(i + 16 * h, size), messages + i + 16 * h);
            half[h] = _mm512_and_si512(_mm512_sra_epi32(half[h], by), kept);
        }
        __m512i pair = _mm512_inserti64x4(
            _mm512_castsi256_si512(_mm512_cvtepi32_epi16(half[0])), _mm512_cvtepi32_epi16(half[1]), 1);
        __mmask16 sends = _mm512_test_epi32_mask(pair, pair);
        _mm512_storeu_si512(pairs + i / 2, pair);
        _mm512_storeu_si512(active + count, _mm512_maskz_compress_epi32(sends, place));
        count += __builtin_popcount(sends);
        place = _mm512_add_epi32(place, _mm512_set1_epi32(16));
    }
    return count;
}

static void split_block(const int32_t *values, int32_t half, int shift, int8_t *digits)
{
    __m512i x = _mm512_add_epi32(_mm512_loadu_si512(values), _mm512_set1_epi32(half));
    _mm_storeu_si128((__m128i *)digits, _mm512_cvtepi32_epi8(_mm512_sra_epi32(x, _mm_cvtsi32_si128(shift))));
}

#else

void list_messages(const int32_t *restrict messages, int32_t size, int32_t *restrict counts, events *to)
{
    uint16_t *restrict sources = to->sources;
    int32_t *restrict values = to->values;
    int32_t count = 0, bits = 0, signs = 0, total = 0;
    for (int32_t i = 0; i < size; i++) {
        int32_t x = messages[i];
        bits |= x ^ (x >> 31);
        signs |= x;
        total += x;
        if (counts)
            counts[i] += x != 0;
    }
    for (int32_t i = 0; i < size; i++) {
        sources[count] = (uint16_t)i;
        values[count] = messages[i];
        count += messages[i] != 0;
    }
    for (int32_t i = count; i < count + BLOCK; i++)
        sources[i] = 0, values[i] = 0;
    to->count = count, to->bits = bits, to->signs = signs, to->total = total, to->planes = 0;
}

int32_t pair_up(
    const int32_t *restrict messages, int32_t size, int32_t shift, int32_t mask, int32_t *restrict pairs,
    int32_t *restrict active)
{
    int32_t count = 0;
    for (int32_t k = 0; 2 * k < size; k++) {
        uint32_t low = (uint32_t)((messages[2 * k] >> shift) & mask);
        uint32_t high = 2 * k + 1 < size ? (uint32_t)((messages[2 * k + 1] >> shift) & mask) : 0;
        pairs[k] = (int32_t)((low & 0xffff) | high << 16);
    }
    for (int32_t k = 0; 2 * k < size; k++) {
        active[count] = k;
        count += pairs[k] != 0;
    }
    return count;
}

static void split_block(const int32_t *values, int32_t half, int shift, int8_t *digits)
{
    for (int i = 0; i < BLOCK; i++)
        digits[i] = (int8_t)((values[i] + half) >> shift);
}

#endif

void split_messages(events *e)
{
    if (e->planes)
        return;
    e->planes = 1;
    while (e->planes < 4 && e->bits > 0x7f7f7f7f >> 8 * (4 - e->planes))
        e->planes++;
    for (int32_t i = 0; i < e->count; i += BLOCK)
        for (int plane = 0; plane < e->planes; plane++) {
            /* Half of a digit more where the digits below round up. */
            int32_t half = 0x808080 & ((1 << 8 * plane) - 1);
            split_block(e->values + i, half, 8 * plane, e->digits + plane * e->stride + i);
        }
}

void deliver_diagonal(const wire *w, const int32_t *messages, int32_t size, int32_t *restrict to)
{
    int32_t first = w->offset < 0 ? -w->offset : 0;
    int32_t last = size - w->offset < w->targets ? size - w->offset : w->targets;
    const int16_t *weights = w->weights;
    messages += w->offset;
    for (int32_t t = first; t < last; t++)
        to[t] += (weights[t] * messages[t]) >> w->right_shift;
}
