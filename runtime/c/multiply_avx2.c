#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_AVX2
#include "nmbrl_avx2.h"
#include "nmbrl_fixed_point.h"

void nmbrl_multiply(const nmbrl_multiply_layer *layer, const int8_t *a, size_t a_stride, const int8_t *b,
                    size_t b_stride, int8_t *y, size_t y_stride, size_t n) {
    const nmbrl_multiply_layer l = *layer;
    const int left = l.shift > 0 ? l.shift : 0;
    const nmbrl_lanes lanes = nmbrl_make_lanes(_mm256_set1_epi32(l.multiplier), _mm256_set1_epi32(l.shift - left),
                                               l.zero_point, l.low, l.high);
    const __m256i a_zero = _mm256_set1_epi32(l.a_zero), b_zero = _mm256_set1_epi32(l.b_zero);
    for (size_t row = 0; row < n; ++row, a += a_stride, b += b_stride, y += y_stride) {
        size_t i = 0;
        for (; i + 8 <= l.size; i += 8) {
            const __m256i first = _mm256_sub_epi32(nmbrl_widen(a + i), a_zero);
            const __m256i second = _mm256_sub_epi32(nmbrl_widen(b + i), b_zero);
            const __m256i product = _mm256_slli_epi32(_mm256_mullo_epi32(first, second), left + 1);
            const int64_t bytes = nmbrl_narrow(nmbrl_requantise(product, &lanes));
            _mm_storel_epi64((__m128i *)(void *)(y + i), _mm_cvtsi64_si128(bytes));
        }
        for (; i < l.size; ++i) {
            const int32_t product = (int32_t)(a[i] - l.a_zero) * (b[i] - l.b_zero);
            const int32_t scaled = nmbrl_rescale(nmbrl_double(product, l.shift), l.multiplier, nmbrl_right(l.shift));
            y[i] = nmbrl_clamp(scaled + l.zero_point, l.low, l.high);
        }
    }
    if (l.table) nmbrl_map(l.table, l.size, y - n * y_stride, y_stride, y - n * y_stride, y_stride, n);
}
#endif
