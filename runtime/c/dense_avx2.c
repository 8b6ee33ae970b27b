#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_AVX2 && !NMBRL_USE_VNNI
#include <string.h>

#include "nmbrl_avx2.h"
#include "nmbrl_fixed_point.h"

/* Samples that share each load of weights. */
#define TILE 4
/* Columns of a layer that the work area holds; wider layers are done in parts. */
#define WIDEST 512

/* Sums of up to four pairs of rows, eight lanes each, to the eight rows in order: a pair's lanes are the first row's
 * two, the second row's two, and again. */
static inline __m256i gather_rows(const __m256i sums[4]) {
    const __m256i low = _mm256_hadd_epi32(sums[0], sums[1]), high = _mm256_hadd_epi32(sums[2], sums[3]);
    return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31));
}

/* Copies 4 columns at a time twice, once for each row of a pair, widened to 16 bits; pads with zeros to 8 columns. */
static void spread(const int8_t *x, size_t columns, int16_t *out) {
    size_t column = 0;
    for (; column + 8 <= columns; column += 8, out += 16) {
        const __m128i words = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)(x + column)));
        _mm_storeu_si128((__m128i *)(void *)out, _mm_unpacklo_epi64(words, words));
        _mm_storeu_si128((__m128i *)(void *)(out + 8), _mm_unpackhi_epi64(words, words));
    }
    if (column < columns) {
        int8_t rest[8] = {0};
        memcpy(rest, x + column, columns - column);
        const __m128i words = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)rest));
        _mm_storeu_si128((__m128i *)(void *)out, _mm_unpacklo_epi64(words, words));
        _mm_storeu_si128((__m128i *)(void *)(out + 8), _mm_unpackhi_epi64(words, words));
    }
}

/* Adds 8 columns of four pairs of rows for `samples` samples; a constant count lets the compiler unroll. */
static inline __attribute__((always_inline)) void accumulate(const nmbrl_dense_layer *l, size_t row, size_t pairs,
                                                             const int16_t x[TILE][2 * WIDEST], size_t samples,
                                                             __m256i sums[TILE][4]) {
    const size_t stride = (size_t)(l->columns + 3) / 4 * 8;
    const int8_t *w = l->weights + row / 2 * stride;
    /* Two pairs at a time: more sums than a processor has additions under way. Of an odd number the last is done twice. */
    for (size_t pair = 0; pair < pairs; pair += 2, w += 2 * stride) {
        const size_t next = pair + 1 < pairs ? 1 : 0;
        __m256i one[TILE], other[TILE];
        for (size_t s = 0; s < samples; ++s) one[s] = other[s] = _mm256_setzero_si256();
        for (size_t i = 0; i < stride; i += 16) {
            const __m256i first = nmbrl_load_wide(w + i), second = nmbrl_load_wide(w + next * stride + i);
            for (size_t s = 0; s < samples; ++s) {
                const __m256i inputs = _mm256_loadu_si256((const __m256i *)(const void *)(x[s] + i));
                one[s] = _mm256_add_epi32(one[s], _mm256_madd_epi16(first, inputs));
                other[s] = _mm256_add_epi32(other[s], _mm256_madd_epi16(second, inputs));
            }
        }
        for (size_t s = 0; s < samples; ++s) {
            sums[s][pair] = one[s];
            sums[s][pair + next] = next ? other[s] : one[s];
        }
    }
}

/* Eight rows (or what is left) of `samples` samples. */
static inline __attribute__((always_inline)) void rows_of_tile(const nmbrl_dense_layer *l, size_t row,
                                                               const int16_t x[TILE][2 * WIDEST], int8_t *y,
                                                               size_t y_stride, size_t samples) {
    const size_t rows = l->rows - row < 8 ? l->rows - row : 8;
    __m256i sums[TILE][4];
    for (size_t s = 0; s < samples; ++s) {
        for (size_t pair = 0; pair < 4; ++pair) sums[s][pair] = _mm256_setzero_si256();
    }
    accumulate(l, row, (rows + 1) / 2, x, samples, sums);
    int32_t bias[8] = {0}, multiplier[8] = {0};
    int8_t shift[8] = {0};
    const int whole = rows == 8;
    if (!whole) {
        memcpy(bias, l->bias + row, rows * sizeof bias[0]);
        memcpy(multiplier, l->multiplier + row, rows * sizeof multiplier[0]);
        memcpy(shift, l->shift + row, rows);
    }
    const void *const biases = whole ? l->bias + row : bias, *const factors = whole ? l->multiplier + row : multiplier;
    const nmbrl_lanes lanes = nmbrl_make_lanes(_mm256_loadu_si256((const __m256i *)factors),
                                               nmbrl_widen(whole ? l->shift + row : shift), l->zero_point, l->low, l->high);
    for (size_t s = 0; s < samples; ++s, y += y_stride) {
        const __m256i total = _mm256_add_epi32(gather_rows(sums[s]), _mm256_loadu_si256((const __m256i *)biases));
        const int64_t bytes = nmbrl_narrow(nmbrl_requantise(_mm256_slli_epi32(total, 1), &lanes));
        memcpy(y + row, &bytes, rows);
    }
}

static void tile(const nmbrl_dense_layer *l, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
                 size_t samples) {
    int16_t work[TILE][2 * WIDEST];
    for (size_t s = 0; s < samples; ++s) spread(x + s * x_stride, l->columns, work[s]);
    for (size_t row = 0; row < l->rows; row += 8) {
        if (samples == TILE) {
            rows_of_tile(l, row, work, y, y_stride, TILE);
        } else {
            for (size_t s = 0; s < samples; ++s) rows_of_tile(l, row, work + s, y + s * y_stride, y_stride, 1);
        }
    }
    if (l->table) nmbrl_map(l->table, l->rows, y, y_stride, y, y_stride, samples);
}

void nmbrl_dense_rows(const nmbrl_dense_layer *layer, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
                 size_t n) {
    if (layer->columns > WIDEST || layer->greatest_shift > 0) {
        nmbrl_dense_portable(layer, x, x_stride, y, y_stride, n);
        return;
    }
    for (size_t done = 0; done < n; done += TILE) {
        const size_t samples = n - done < TILE ? n - done : TILE;
        tile(layer, x + done * x_stride, x_stride, y + done * y_stride, y_stride, samples);
    }
}
#endif
