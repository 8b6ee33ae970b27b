/* What a population sends, as a list of the messages that are not 0, in digits. */
#ifndef NMBRL_LOIHI_LISTING_H
#define NMBRL_LOIHI_LISTING_H

#include <immintrin.h>
#include <string.h>

#include "fours.h"

/* Neurons that are listed at a time: a bit of a word for each. */
#define WORD 64
/* The largest message of two digits, and of three. */
#define MOST_NARROW 0x7f7f
#define MOST_WIDE 0x7f7f7f

/* A list on its way to events. */
typedef struct {
    events *to;
    int32_t count;
    int32_t wide;            /* 0 while all messages have two digits; then bits of some that differ from the sign */
    __m512i high, total; /* of all messages: bits of high digits; sums */
} list;

INLINE list begin_list(events *to)
{
    __m512i none = _mm512_setzero_si512();
    return (list){to, 0, 0, none, none};
}

#define EIGHT(i) i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7
static const uint8_t neurons[WORD] = {EIGHT(0), EIGHT(8), EIGHT(16), EIGHT(24), EIGHT(32), EIGHT(40), EIGHT(48), EIGHT(56)};

/* Where the lower bytes of 64 words are in two vectors of them, which packing brings by parts of 128 bits. */
#define LOWER(i) i, i + 2, i + 4, i + 6
#define QUARTERS(i) LOWER(i), LOWER(i + 16), LOWER(i + 32), LOWER(i + 48)
static const uint8_t lower[WORD] = {QUARTERS(0), QUARTERS(8), QUARTERS(64), QUARTERS(72)};

INLINE void list_sources(const list *l, uint64_t sends, int32_t first, int count)
{
    uint16_t *sources = l->to->sources + l->count;
    __m512i base = _mm512_set1_epi16((int16_t)first);
    __m512i which = _mm512_maskz_compress_epi8(sends, _mm512_loadu_si512(neurons));
    __m256i low = _mm512_castsi512_si256(which), high = _mm512_extracti64x4_epi64(which, 1);
    _mm512_storeu_si512(sources, _mm512_add_epi16(base, _mm512_cvtepu8_epi16(low)));
    if (count > WORD / 2)
        _mm512_storeu_si512(sources + WORD / 2, _mm512_add_epi16(base, _mm512_cvtepu8_epi16(high)));
}

INLINE void list_digits(const list *l, uint64_t sends, int plane, __m512i digits, int count)
{
    int8_t *to = l->to->digits + plane * l->to->stride + l->count;
    __m512i those = _mm512_maskz_compress_epi8(sends, digits);
    _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(those));
    if (count > WORD / 2)
        _mm256_storeu_si256((__m256i *)to + 1, _mm512_extracti64x4_epi64(those, 1));
}

/* List messages of a word in four digits. */
static __attribute__((noinline)) uint64_t list_wide(list *l, const int32_t *messages)
{
    uint64_t sends = 0;
    for (int plane = 2; plane < MOST_PLANES && !l->wide; plane++)
        memset(l->to->digits + plane * l->to->stride, 0, (size_t)l->count);
    l->wide |= MOST_NARROW;
    for (int i = 0; i < WORD; i++) {
        int32_t x = messages[i];
        sends |= (uint64_t)(x != 0) << i;
        l->wide |= x ^ (x >> 31);
    }
    for (int plane = 0; plane < MOST_PLANES; plane++) {
        int8_t digits[WORD];
        for (int i = 0; i < WORD; i++)
            digits[i] = digit_of(messages[i], plane);
        list_digits(l, sends, plane, _mm512_loadu_si512(digits), WORD);
    }
    for (int i = 0; i < WORD; i += BLOCK)
        l->total = _mm512_add_epi32(l->total, _mm512_loadu_si512(messages + i));
    return sends;
}

/* List the messages of WORD neurons from the `first` on; return a bit for each that sends. */
INLINE uint64_t list_word(list *l, const __m512i *messages, int32_t first)
{
    const __m512i least = _mm512_set1_epi16(-0x7fff), span = _mm512_set1_epi16((int16_t)(MOST_NARROW + 0x7fff));
    const __m512i half = _mm512_set1_epi16(128), ones = _mm512_set1_epi16(1);
    /* Numbers of more than 16 bits become the farthest that have. */
    __m512i a = _mm512_packs_epi32(messages[0], messages[1]), b = _mm512_packs_epi32(messages[2], messages[3]);
    __m512i farthest = _mm512_max_epu16(_mm512_sub_epi16(a, least), _mm512_sub_epi16(b, least));
    uint64_t sends;
    int count;
    if (__builtin_expect(l->wide || _mm512_cmpgt_epu16_mask(farthest, span), 0)) {
        int32_t stored[WORD];
        for (int i = 0; i < WORD / BLOCK; i++)
            _mm512_storeu_si512(stored + i * BLOCK, messages[i]);
        sends = list_wide(l, stored);
        count = __builtin_popcountll(sends);
    } else {
        __m512i bytes = _mm512_loadu_si512(lower), low = _mm512_permutex2var_epi8(a, bytes, b);
        bytes = _mm512_add_epi8(bytes, _mm512_set1_epi8(1));
        __m512i high = _mm512_permutex2var_epi8(_mm512_add_epi16(a, half), bytes, _mm512_add_epi16(b, half));
        __m512i both = _mm512_or_si512(low, high);
        sends = _mm512_test_epi8_mask(both, both);
        count = __builtin_popcountll(sends);
        l->high = _mm512_or_si512(l->high, high);
        l->total = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(l->total, a, ones), b, ones);
        list_digits(l, sends, 0, low, count);
        list_digits(l, sends, 1, high, count);
    }
    list_sources(l, sends, first, count);
    l->count += count;
    return sends;
}

/* Fill the last four up, and say what is listed. */
INLINE void end_list(const list *l)
{
    events *to = l->to;
    to->count = l->count;
    to->total = _mm512_reduce_add_epi32(l->total);
    to->planes = l->wide > MOST_WIDE ? 4 : l->wide ? 3 : _mm512_test_epi32_mask(l->high, l->high) ? 2 : 1;
    memset(to->sources + l->count, 0, 3 * sizeof *to->sources);
    for (int plane = 0; plane < (l->wide ? MOST_PLANES : 2); plane++)
        memset(to->digits + plane * to->stride + l->count, 0, 4);
}

#endif
