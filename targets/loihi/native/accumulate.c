/* Synapses event by event: pairs of 16-bit messages times pairs of weights, summed modulo 2^32. */
#include "loihi.h"

/* Pair `k` of sources to `targets` targets is a row of 2 * targets weights of this many bytes. */
static inline const uint8_t *row_of(const wire *w, int32_t k, int32_t first)
{
    int64_t bytes = w->form == WORDS ? 2 : 1;
    return (const uint8_t *)w->weights + bytes * 2 * ((int64_t)k * w->targets + first);
}

#if defined(__AVX512BW__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512BW__) || defined(__AVX2__)

#if defined(__AVX512BW__)
typedef __m512i vector;
#define WIDTH 16
#define GROUP_VECTORS 4
#define MOST_VECTORS 16
#define load(p) _mm512_loadu_si512((const void *)(p))
#define store(p, x) _mm512_storeu_si512((void *)(p), x)
#define broadcast(x) _mm512_set1_epi32(x)
#define widen_signed(p) _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(p)))
#define widen_unsigned(p) _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(p)))
#define scale(sum, factor, shift) _mm512_sra_epi32(_mm512_mullo_epi32(sum, factor), shift)
#define add(a, b) _mm512_add_epi32(a, b)
#define zero() _mm512_setzero_si512()
#if defined(__AVX512VNNI__)
/* As an instruction, as compilers make copies of sums around the intrinsic. */
static inline __attribute__((always_inline)) vector dot(vector sum, vector a, vector b)
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}
#else
#define dot(sum, a, b) _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
#endif
#else
typedef __m256i vector;
#define WIDTH 8
#define GROUP_VECTORS 2
#define MOST_VECTORS 8
#define load(p) _mm256_loadu_si256((const __m256i *)(p))
#define store(p, x) _mm256_storeu_si256((__m256i *)(p), x)
#define broadcast(x) _mm256_set1_epi32(x)
#define widen_signed(p) _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(p)))
#define widen_unsigned(p) _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(p)))
#define scale(sum, factor, shift) _mm256_sra_epi32(_mm256_mullo_epi32(sum, factor), shift)
#define add(a, b) _mm256_add_epi32(a, b)
#define zero() _mm256_setzero_si256()
#define dot(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#endif

#define INLINE static inline __attribute__((always_inline))

INLINE vector weights_at(int form, const uint8_t *row, int v)
{
    return form == WORDS           ? load(row + 4 * v * WIDTH)
           : form == SIGNED_BYTES ? widen_signed(row + 2 * v * WIDTH)
                                  : widen_unsigned(row + 2 * v * WIDTH);
}

INLINE void finish(const wire *w, int vectors, const vector *sum, int32_t *to)
{
    vector factor = broadcast(w->factor);
    __m128i shift = _mm_cvtsi32_si128(w->right_shift);
    for (int v = 0; v < vectors; v++)
        store(to + v * WIDTH, add(load(to + v * WIDTH), scale(sum[v], factor, shift)));
}

/* Sums of `vectors` x WIDTH targets stay in registers while all active pairs pass. */
INLINE void tile(
    const wire *w, int form, int vectors, int32_t first, const int32_t *pairs, const int32_t *active, int32_t count,
    int32_t *to)
{
    vector sum[MOST_VECTORS];
    for (int v = 0; v < vectors; v++)
        sum[v] = zero();
    for (int32_t i = 0; i < count; i++) {
        const uint8_t *row = row_of(w, active[i], first);
        vector message = broadcast(pairs[active[i]]);
        for (int v = 0; v < vectors; v++)
            sum[v] = dot(sum[v], weights_at(form, row, v), message);
    }
    finish(w, vectors, sum, to + first);
}

INLINE void all_tiles(
    const wire *w, int form, const int32_t *pairs, const int32_t *active, int32_t count, int32_t *to)
{
    int32_t t = 0;
    for (; t + MOST_VECTORS * WIDTH <= w->targets; t += MOST_VECTORS * WIDTH)
        tile(w, form, MOST_VECTORS, t, pairs, active, count, to);
    for (; t + 4 * WIDTH <= w->targets; t += 4 * WIDTH)
        tile(w, form, 4, t, pairs, active, count, to);
    for (; t + WIDTH <= w->targets; t += WIDTH)
        tile(w, form, 1, t, pairs, active, count, to);
}

void accumulate(const wire *w, const int32_t *pairs, const int32_t *active, int32_t count, int32_t *to)
{
    if (w->form == WORDS)
        all_tiles(w, WORDS, pairs, active, count, to);
    else if (w->form == SIGNED_BYTES)
        all_tiles(w, SIGNED_BYTES, pairs, active, count, to);
    else
        all_tiles(w, BYTES, pairs, active, count, to);
}

/* The same of GROUP lanes, with every weight loaded once for all of them. */
INLINE void group_tile(
    const wire *w, int form, int vectors, int32_t first, const int32_t *const *pairs, int32_t count, int32_t *const *to)
{
    vector sum[GROUP][4];
    for (int lane = 0; lane < GROUP; lane++)
        for (int v = 0; v < vectors; v++)
            sum[lane][v] = zero();
    for (int32_t k = 0; k < count; k++) {
        const uint8_t *row = row_of(w, k, first);
        vector weight[4];
        for (int v = 0; v < vectors; v++)
            weight[v] = weights_at(form, row, v);
        for (int lane = 0; lane < GROUP; lane++) {
            vector message = broadcast(pairs[lane][k]);
            for (int v = 0; v < vectors; v++)
                sum[lane][v] = dot(sum[lane][v], weight[v], message);
        }
    }
    for (int lane = 0; lane < GROUP; lane++)
        finish(w, vectors, sum[lane], to[lane] + first);
}

INLINE void all_group_tiles(const wire *w, int form, const int32_t *const *pairs, int32_t count, int32_t *const *to)
{
    int32_t t = 0;
    for (; t + GROUP_VECTORS * WIDTH <= w->targets; t += GROUP_VECTORS * WIDTH)
        group_tile(w, form, GROUP_VECTORS, t, pairs, count, to);
    for (; t + WIDTH <= w->targets; t += WIDTH)
        group_tile(w, form, 1, t, pairs, count, to);
}

void accumulate_group(const wire *w, const int32_t *const *pairs, int32_t count, int32_t *const *to)
{
    if (w->form == WORDS)
        all_group_tiles(w, WORDS, pairs, count, to);
    else if (w->form == SIGNED_BYTES)
        all_group_tiles(w, SIGNED_BYTES, pairs, count, to);
    else
        all_group_tiles(w, BYTES, pairs, count, to);
}

#else

static int32_t weight_at(const wire *w, const uint8_t *row, int32_t i)
{
    return w->form == WORDS ? ((const int16_t *)row)[i] : w->form == SIGNED_BYTES ? ((const int8_t *)row)[i] : row[i];
}

void accumulate(const wire *w, const int32_t *pairs, const int32_t *active, int32_t count, int32_t *to)
{
    for (int32_t t = 0; t < w->targets; t++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < count; i++) {
            const uint8_t *row = row_of(w, active[i], t);
            int32_t pair = pairs[active[i]];
            sum += weight_at(w, row, 0) * (int16_t)pair + weight_at(w, row, 1) * (pair >> 16);
        }
        to[t] += (sum * w->factor) >> w->right_shift;
    }
}

void accumulate_group(const wire *w, const int32_t *const *pairs, int32_t count, int32_t *const *to)
{
    for (int lane = 0; lane < GROUP; lane++)
        for (int32_t t = 0; t < w->targets; t++) {
            int32_t sum = 0;
            for (int32_t k = 0; k < count; k++) {
                const uint8_t *row = row_of(w, k, t);
                sum += weight_at(w, row, 0) * (int16_t)pairs[lane][k] + weight_at(w, row, 1) * (pairs[lane][k] >> 16);
            }
            to[lane][t] += (sum * w->factor) >> w->right_shift;
        }
}

#endif
