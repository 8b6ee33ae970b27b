#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_AVX512_BYTES
#include <immintrin.h>

/* Two look-ups of 64 elements among 128 bytes each, the second for negative ones. */
void nmbrl_map(const int8_t *table, size_t size, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
               size_t n) {
    __m512i part[4];
    for (size_t i = 0; i < 4; ++i) part[i] = _mm512_loadu_si512(table + 64 * i);
    for (size_t row = 0; row < n; ++row, x += x_stride, y += y_stride) {
        for (size_t i = 0; i < size; i += 64) {
            const __mmask64 inside = size - i < 64 ? ((__mmask64)1 << (size - i)) - 1 : ~(__mmask64)0;
            const __m512i index = _mm512_maskz_loadu_epi8(inside, x + i);
            const __m512i positive = _mm512_permutex2var_epi8(part[0], index, part[1]);
            const __m512i negative = _mm512_permutex2var_epi8(part[2], index, part[3]);
            const __m512i found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), positive, negative);
            _mm512_mask_storeu_epi8(y + i, inside, found);
        }
    }
}
#endif
