#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_VNNI
#include <string.h>

#include "nmbrl_avx2.h"
#include "nmbrl_fixed_point.h"

/* Samples that share each load of weights. */
#define TILE 4
/* Columns and rows of a layer that the work areas hold; larger layers are done in plain C. */
#define WIDEST 512
#define TALLEST 512

/* Sums of up to four pairs of rows, eight lanes each, to the eight rows in order: a pair's lanes take turns. */
static inline __m256i gather_rows(const __m256i sums[4]) {
    __m256i ordered[4];
    for (size_t pair = 0; pair < 4; ++pair) ordered[pair] = _mm256_shuffle_epi32(sums[pair], 0xD8);
    const __m256i low = _mm256_hadd_epi32(ordered[0], ordered[1]), high = _mm256_hadd_epi32(ordered[2], ordered[3]);
    return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31));
}

/* Copies 4 columns at a time twice, once for each row of a pair, 128 more than they are; zeros follow, up to 16 columns. */
static void spread(const int8_t *x, size_t columns, uint8_t *out) {
    const __m128i sign = _mm_set1_epi8((char)0x80);
    size_t column = 0;
    for (; column + 8 <= columns; column += 8, out += 16) {
        const __m128i bytes = _mm_xor_si128(_mm_loadl_epi64((const __m128i *)(const void *)(x + column)), sign);
        _mm_storeu_si128((__m128i *)(void *)out, _mm_unpacklo_epi32(bytes, bytes));
    }
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_setzero_si256());
    for (; column < columns; ++column) {
        const size_t at = column % 8 / 4 * 8 + column % 4;
        out[at] = out[at + 4] = (uint8_t)(x[column] + 128);
    }
}

/* Adds 8 columns of four pairs of rows for `samples` samples; a constant count lets the compiler unroll. */
static inline __attribute__((always_inline)) void accumulate(const nmbrl_dense_layer *l, size_t row, size_t pairs,
                                                             const uint8_t x[TILE][2 * WIDEST + 32], size_t samples,
                                                             __m256i sums[TILE][4]) {
    const size_t stride = (size_t)(l->columns + 3) / 4 * 8;
    const int8_t *w = l->weights + row / 2 * stride;
    /* Two pairs at a time: more sums than a processor has additions under way. Of an odd number the last is done twice. */
    for (size_t pair = 0; pair < pairs; pair += 2, w += 2 * stride) {
        const size_t next = pair + 1 < pairs ? 1 : 0;
        __m256i one[TILE], other[TILE];
        for (size_t s = 0; s < samples; ++s) one[s] = other[s] = _mm256_setzero_si256();
        for (size_t i = 0; i < stride; i += 32) {
            const __m256i first = _mm256_loadu_si256((const __m256i *)(const void *)(w + i));
            const __m256i second = _mm256_loadu_si256((const __m256i *)(const void *)(w + next * stride + i));
            for (size_t s = 0; s < samples; ++s) {
                const __m256i inputs = _mm256_loadu_si256((const __m256i *)(const void *)(x[s] + i));
                one[s] = _mm256_dpbusd_epi32(one[s], inputs, first);
                other[s] = _mm256_dpbusd_epi32(other[s], inputs, second);
            }
        }
        for (size_t s = 0; s < samples; ++s) {
            sums[s][pair] = one[s];
            sums[s][pair + next] = next ? other[s] : one[s];
        }
    }
}

/* Biases less what 128 in every column adds to the sums. */
static void correct_biases(const nmbrl_dense_layer *l, int32_t *corrected) {
    static const int8_t zeros[WIDEST];
    uint8_t work[TILE][2 * WIDEST + 32];
    spread(zeros, l->columns, work[0]);
    for (size_t row = 0; row < l->rows; row += 8) {
        const size_t rows = l->rows - row < 8 ? l->rows - row : 8;
        __m256i sums[TILE][4];
        for (size_t pair = 0; pair < 4; ++pair) sums[0][pair] = _mm256_setzero_si256();
        accumulate(l, row, (rows + 1) / 2, work, 1, sums);
        int32_t bias[8] = {0};
        memcpy(bias, l->bias + row, rows * sizeof bias[0]);
        const __m256i biases = _mm256_loadu_si256((const __m256i *)(const void *)bias);
        _mm256_storeu_si256((__m256i *)(void *)(corrected + row), _mm256_sub_epi32(biases, gather_rows(sums[0])));
    }
}

/* Eight rows (or what is left) of `samples` samples. */
static inline __attribute__((always_inline)) void rows_of_tile(const nmbrl_dense_layer *l, size_t row,
                                                               const uint8_t x[TILE][2 * WIDEST + 32],
                                                               const int32_t *biases, int8_t *y, size_t y_stride,
                                                               size_t samples) {
    const size_t rows = l->rows - row < 8 ? l->rows - row : 8;
    __m256i sums[TILE][4];
    for (size_t s = 0; s < samples; ++s) {
        for (size_t pair = 0; pair < 4; ++pair) sums[s][pair] = _mm256_setzero_si256();
    }
    accumulate(l, row, (rows + 1) / 2, x, samples, sums);
    int32_t multiplier[8] = {0};
    int8_t shift[8] = {0};
    const int whole = rows == 8;
    if (!whole) {
        memcpy(multiplier, l->multiplier + row, rows * sizeof multiplier[0]);
        memcpy(shift, l->shift + row, rows);
    }
    const void *const factors = whole ? l->multiplier + row : multiplier;
    const nmbrl_lanes lanes = nmbrl_make_lanes(_mm256_loadu_si256((const __m256i *)factors),
                                               nmbrl_widen(whole ? l->shift + row : shift), l->zero_point, l->low, l->high);
    for (size_t s = 0; s < samples; ++s, y += y_stride) {
        const __m256i total = _mm256_add_epi32(gather_rows(sums[s]), _mm256_loadu_si256((const __m256i *)(const void *)(biases + row)));
        const int64_t bytes = nmbrl_narrow(nmbrl_requantise(_mm256_slli_epi32(total, 1), &lanes));
        memcpy(y + row, &bytes, rows);
    }
}

static void tile(const nmbrl_dense_layer *l, const int32_t *biases, const int8_t *x, size_t x_stride, int8_t *y,
                 size_t y_stride, size_t samples) {
    uint8_t work[TILE][2 * WIDEST + 32];
    for (size_t s = 0; s < samples; ++s) spread(x + s * x_stride, l->columns, work[s]);
    for (size_t row = 0; row < l->rows; row += 8) {
        if (samples == TILE) {
            rows_of_tile(l, row, work, biases, y, y_stride, TILE);
        } else {
            for (size_t s = 0; s < samples; ++s) rows_of_tile(l, row, work + s, biases, y + s * y_stride, y_stride, 1);
        }
    }
    if (l->table) nmbrl_map(l->table, l->rows, y, y_stride, y, y_stride, samples);
}

void nmbrl_dense_rows(const nmbrl_dense_layer *layer, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
                 size_t n) {
    if (layer->columns > WIDEST || layer->rows > TALLEST || layer->greatest_shift > 0) {
        nmbrl_dense_portable(layer, x, x_stride, y, y_stride, n);
        return;
    }
    int32_t biases[TALLEST + 8];
    correct_biases(layer, biases);
    for (size_t done = 0; done < n; done += TILE) {
        const size_t samples = n - done < TILE ? n - done : TILE;
        tile(layer, biases, x + done * x_stride, x_stride, y + done * y_stride, y_stride, samples);
    }
}
#endif
