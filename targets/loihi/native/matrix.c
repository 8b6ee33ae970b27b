/* Synapses of many lanes at once as a product of matrices of bytes, where the processor has such an instruction (AMX).

   A tile holds 16 rows of 64 bytes. Tiles of weights have a row for every four sources and in it four bytes for each of 16
   targets; tiles of messages have a row for every lane and in it 64 sources. */
#define _DEFAULT_SOURCE /* syscall */
#include "loihi.h"

#if defined(__AMX_INT8__) && defined(__AVX512BW__) && defined(__linux__)
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TILE 16

int nmbrl_loihi_has_matrices(void)
{
    const long request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

/* All eight tiles are of full size. Constant, as compilers overlook what the instruction reads. */
static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} layout = {
    .palette = 1,
    .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE},
};

void open_matrices(void)
{
    _tile_loadconfig(&layout);
}

void close_matrices(void)
{
    _tile_release();
}

/* Bring a tile into the nearest cache: its rows arrive too slowly otherwise. */
static inline void fetch(const uint8_t *tile)
{
    for (int row = 0; row < TILE; row++)
        __builtin_prefetch(tile + 64 * row);
}

/* Two by two tiles of sums: 32 lanes by 32 targets; of an odd last tile of targets, one column of them twice. */
#define PRODUCT_OF(name, instruction)                                                                                  \
    static void name(                                                                                                  \
        const uint8_t *tiles, const uint8_t *bytes, int32_t stride, int32_t depth, int32_t columns, int32_t *sums)     \
    {                                                                                                                  \
        for (int32_t n = 0; n < columns; n += 2) {                                                                     \
            int32_t other = n + 1 < columns ? n + 1 : n;                                                               \
            _tile_zero(0);                                                                                             \
            _tile_zero(1);                                                                                             \
            _tile_zero(2);                                                                                             \
            _tile_zero(3);                                                                                             \
            const uint8_t *one = tiles + 1024 * (int64_t)n * depth, *two = tiles + 1024 * (int64_t)other * depth;      \
            for (int32_t k = 0; k < depth; k++) {                                                                      \
                fetch(one + 1024 * (k + 1));                                                                           \
                fetch(two + 1024 * (k + 1));                                                                           \
                _tile_loadd(4, bytes + 64 * k, stride);                                                                \
                _tile_loadd(6, one + 1024 * k, 64);                                                                    \
                instruction(0, 4, 6);                                                                                  \
                _tile_loadd(5, bytes + 64 * k + TILE * (int64_t)stride, stride);                                       \
                instruction(2, 5, 6);                                                                                  \
                _tile_loadd(7, two + 1024 * k, 64);                                                                    \
                instruction(1, 4, 7);                                                                                  \
                instruction(3, 5, 7);                                                                                  \
            }                                                                                                          \
            _tile_stored(0, sums + TILE * n, 4 * TILE * columns);                                                      \
            _tile_stored(1, sums + TILE * other, 4 * TILE * columns);                                                  \
            _tile_stored(2, sums + TILE * (n + TILE * columns), 4 * TILE * columns);                                   \
            _tile_stored(3, sums + TILE * (other + TILE * columns), 4 * TILE * columns);                               \
        }                                                                                                              \
    }

PRODUCT_OF(signed_by_signed, _tile_dpbssd)
PRODUCT_OF(signed_by_unsigned, _tile_dpbsud)
PRODUCT_OF(unsigned_by_signed, _tile_dpbusd)
PRODUCT_OF(unsigned_by_unsigned, _tile_dpbuud)
typedef void kernel(const uint8_t *, const uint8_t *, int32_t, int32_t, int32_t, int32_t *);

/* Whether messages have a sign, weights have a sign. */
static kernel *const kernels[2][2] = {
    {unsigned_by_unsigned, unsigned_by_signed},
    {signed_by_unsigned, signed_by_signed},
};

static void multiply(const wire *w, int are_signed, const uint8_t *bytes, int32_t depth, int32_t *sums)
{
    __asm__ volatile("" : : : "memory"); /* compilers overlook what loads of tiles read */
    kernels[are_signed][w->form == SIGNED_BYTES](w->tiles, bytes, 64 * depth, depth, w->targets / TILE, sums);
}

void pack_bytes(const int32_t *messages, int32_t size, int planes, uint8_t *low, uint8_t *high)
{
    int32_t end = (size + 63) / 64 * 64, i = 0;
    for (; i < end; i += TILE) {
        int32_t left = size - i;
        __mmask16 inside = left >= TILE ? 0xffff : left > 0 ? (__mmask16)((1 << left) - 1) : 0;
        __m512i x = _mm512_maskz_loadu_epi32(inside, messages + i);
        _mm_storeu_si128((__m128i *)(low + i), _mm512_cvtepi32_epi8(x));
        if (planes == 2)
            _mm_storeu_si128((__m128i *)(high + i), _mm512_cvtepi32_epi8(_mm512_srai_epi32(x, 8)));
    }
}

void multiply_lanes(
    const wire *w, int32_t sources, int planes, int are_signed, const uint8_t *low, const uint8_t *high, int32_t *sums,
    int32_t *const *to, int lanes)
{
    int32_t depth = (sources + 63) / 64, *high_sums = sums + LANES_AT_ONCE * w->targets;
    __m512i factor = _mm512_set1_epi32(w->factor);
    __m128i shift = _mm_cvtsi32_si128(w->right_shift);
    multiply(w, planes == 1 && are_signed, low, depth, sums);
    if (planes == 2)
        multiply(w, 1, high, depth, high_sums);
    for (int lane = 0; lane < lanes; lane++) {
        if (!to[lane])
            continue;
        for (int32_t t = 0; t < w->targets; t += TILE) {
            __m512i sum = _mm512_loadu_si512(sums + lane * w->targets + t);
            if (planes == 2)
                sum = _mm512_add_epi32(
                    sum, _mm512_slli_epi32(_mm512_loadu_si512(high_sums + lane * w->targets + t), 8));
            sum = _mm512_sra_epi32(_mm512_mullo_epi32(sum, factor), shift);
            _mm512_storeu_si512(to[lane] + t, _mm512_add_epi32(_mm512_loadu_si512(to[lane] + t), sum));
        }
    }
}

#else

int nmbrl_loihi_has_matrices(void)
{
    return 0;
}

void open_matrices(void)
{
}

void close_matrices(void)
{
}

void pack_bytes(const int32_t *messages, int32_t size, int planes, uint8_t *low, uint8_t *high)
{
    (void)messages, (void)size, (void)planes, (void)low, (void)high;
}

void multiply_lanes(
    const wire *w, int32_t sources, int planes, int are_signed, const uint8_t *low, const uint8_t *high, int32_t *sums,
    int32_t *const *to, int lanes)
{
    (void)w, (void)sources, (void)planes, (void)are_signed, (void)low, (void)high, (void)sums, (void)to, (void)lanes;
}

#endif
