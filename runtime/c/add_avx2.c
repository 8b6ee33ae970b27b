#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_AVX2
#include "nmbrl_avx2.h"
#include "nmbrl_fixed_point.h"

void nmbrl_add(const nmbrl_add_layer *layer, const int8_t *a, size_t a_stride, const int8_t *b, size_t b_stride,
               int8_t *y, size_t y_stride, size_t n) {
    const nmbrl_add_layer l = *layer;
    const nmbrl_lanes lanes = nmbrl_make_lanes(_mm256_set1_epi32(l.multiplier), _mm256_set1_epi32(l.shift),
                                               l.zero_point, l.low, l.high);
    const __m256i byte = _mm256_set1_epi32(255);
    for (size_t row = 0; row < n; ++row, a += a_stride, b += b_stride, y += y_stride) {
        size_t i = 0;
        for (; i + 8 <= l.size; i += 8) {
            const __m256i first = _mm256_i32gather_epi32(l.a, _mm256_and_si256(nmbrl_widen(a + i), byte), 4);
            const __m256i second = _mm256_i32gather_epi32(l.b, _mm256_and_si256(nmbrl_widen(b + i), byte), 4);
            const int64_t bytes = nmbrl_narrow(nmbrl_requantise(_mm256_add_epi32(first, second), &lanes));
            _mm_storel_epi64((__m128i *)(void *)(y + i), _mm_cvtsi64_si128(bytes));
        }
        for (; i < l.size; ++i) {
            const int32_t sum = l.a[(uint8_t)a[i]] + l.b[(uint8_t)b[i]];
            y[i] = nmbrl_clamp(nmbrl_rescale(sum, l.multiplier, l.shift) + l.zero_point, l.low, l.high);
        }
    }
    if (l.table) nmbrl_map(l.table, l.size, y - n * y_stride, y_stride, y - n * y_stride, y_stride, n);
}
#endif
