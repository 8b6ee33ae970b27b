/* Synapses: pairs of 16-bit messages times pairs of 16-bit weights, summed modulo 2^32, event by event. */
#include "loihi.h"

#if defined(__AVX512BW__) || defined(__AVX2__)
#include <immintrin.h>

#if defined(__AVX512BW__)
typedef __m512i vector;
#define WIDTH 16
#define VECTORS 4
#define load(p) _mm512_loadu_si512((const void *)(p))
#define store(p, x) _mm512_storeu_si512((void *)(p), x)
#define broadcast(x) _mm512_set1_epi32(x)
#if defined(__AVX512VNNI__)
#define dot(sum, a, b) _mm512_dpwssd_epi32(sum, a, b)
#else
#define dot(sum, a, b) _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
#endif
#else
typedef __m256i vector;
#define WIDTH 8
#define VECTORS 2
#define load(p) _mm256_loadu_si256((const __m256i *)(p))
#define store(p, x) _mm256_storeu_si256((__m256i *)(p), x)
#define broadcast(x) _mm256_set1_epi32(x)
#define dot(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#endif

/* Sums of `vectors` x WIDTH targets stay in registers while all active pairs pass. */
static inline __attribute__((always_inline)) void tile(
    int vectors, int32_t *sums, int32_t targets, const int16_t *weights, const int32_t *pairs, const int32_t *active,
    int32_t count)
{
    vector sum[8];
    for (int v = 0; v < vectors; v++)
        sum[v] = load(sums + v * WIDTH);
    for (int32_t i = 0; i < count; i++) {
        const int16_t *row = weights + 2 * (int64_t)active[i] * targets;
        vector message = broadcast(pairs[active[i]]);
        for (int v = 0; v < vectors; v++)
            sum[v] = dot(sum[v], load(row + 2 * v * WIDTH), message);
    }
    for (int v = 0; v < vectors; v++)
        store(sums + v * WIDTH, sum[v]);
}

/* The same of GROUP lanes, with every weight loaded once for all of them. */
static inline __attribute__((always_inline)) void group_tile(
    int vectors, int32_t *const *sums, int32_t first, int32_t targets, const int16_t *weights,
    const int32_t *const *pairs, int32_t count)
{
    vector sum[GROUP][4];
    for (int lane = 0; lane < GROUP; lane++)
        for (int v = 0; v < vectors; v++)
            sum[lane][v] = load(sums[lane] + first + v * WIDTH);
    for (int32_t k = 0; k < count; k++) {
        const int16_t *row = weights + 2 * ((int64_t)k * targets + first);
        vector weight[4];
        for (int v = 0; v < vectors; v++)
            weight[v] = load(row + 2 * v * WIDTH);
        for (int lane = 0; lane < GROUP; lane++) {
            vector message = broadcast(pairs[lane][k]);
            for (int v = 0; v < vectors; v++)
                sum[lane][v] = dot(sum[lane][v], weight[v], message);
        }
    }
    for (int lane = 0; lane < GROUP; lane++)
        for (int v = 0; v < vectors; v++)
            store(sums[lane] + first + v * WIDTH, sum[lane][v]);
}

void accumulate_group(
    int32_t *const *sums, int32_t targets, const int16_t *weights, const int32_t *const *pairs, int32_t count)
{
    int32_t t = 0;
    for (; t + VECTORS * WIDTH <= targets; t += VECTORS * WIDTH)
        group_tile(VECTORS, sums, t, targets, weights, pairs, count);
    for (; t + WIDTH <= targets; t += WIDTH)
        group_tile(1, sums, t, targets, weights, pairs, count);
}

void accumulate(
    int32_t *sums, int32_t targets, const int16_t *weights, const int32_t *pairs, const int32_t *active, int32_t count)
{
    int32_t t = 0;
    for (; t + 8 * WIDTH <= targets; t += 8 * WIDTH)
        tile(8, sums + t, targets, weights + 2 * t, pairs, active, count);
    for (; t + 4 * WIDTH <= targets; t += 4 * WIDTH)
        tile(4, sums + t, targets, weights + 2 * t, pairs, active, count);
    for (; t + WIDTH <= targets; t += WIDTH)
        tile(1, sums + t, targets, weights + 2 * t, pairs, active, count);
}

#else

void accumulate(
    int32_t *sums, int32_t targets, const int16_t *weights, const int32_t *pairs, const int32_t *active, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        const int16_t *row = weights + 2 * (int64_t)active[i] * targets;
        int32_t low = (int16_t)pairs[active[i]], high = pairs[active[i]] >> 16;
        for (int32_t t = 0; t < targets; t++)
            sums[t] += row[2 * t] * low + row[2 * t + 1] * high;
    }
}

void accumulate_group(
    int32_t *const *sums, int32_t targets, const int16_t *weights, const int32_t *const *pairs, int32_t count)
{
    for (int lane = 0; lane < GROUP; lane++)
        for (int32_t k = 0; k < count; k++)
            accumulate(sums[lane], targets, weights, pairs[lane], &k, 1);
}

#endif
