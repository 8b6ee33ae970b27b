/* Spiking networks in many lanes, 16 to a vector. */
#ifndef NMBRL_LOIHI_SPIKES_H
#define NMBRL_LOIHI_SPIKES_H

#include <immintrin.h>

#include "loihi.h"

#define INLINE static inline __attribute__((always_inline))

/* A vector of lanes: where each of them is stored, lane by lane, and what they have sent, which is kept for `slots` steps. */
typedef struct {
    int32_t lanes; /* that there are, at most VECTOR */
    int32_t *numbers, *stored;
    uint8_t *arrived;
    uint8_t *index;    /* (slots, net->indices) */
    int32_t *messages; /* (slots, net->inputs, VECTOR) of inputs that send more than 0 and 1 */
    uint8_t *graded;   /* (slots, populations): whether they do */
} vector;

/* Vectors that go through the steps of a call together. */
typedef struct {
    const network *net;
    vector *vector;
    int count;
    int64_t steps;
} block;

/* Steps that what is sent is kept for. */
static inline int64_t slots_of(const network *net)
{
    return net->stored + SPIKING_STEPS;
}

/* An index says which of the sums of every four sources to take: bits of those that send, in four bytes for a lane. */
INLINE __m512i add_to_index(__m512i index, int n, __mmask16 sends)
{
    return _mm512_mask_or_epi32(index, sends, index, _mm512_set1_epi32(1 << (n / 4 * 8 + n % 4)));
}

/* That of none. */
#define NO_SENDER 0x30201000

static inline uint8_t *index_of(const network *net, const population *p, const vector *lanes, int32_t first, int64_t slot)
{
    return lanes->index + slot * net->indices + p->index + 4 * first;
}

/* On lines of the cache. */
#define ALIGNED __attribute__((aligned(64)))

/* A neuron's numbers. */
typedef int32_t numbers_of[VECTORS][VECTOR];

/* What a population's source sent in a step: spikes, or in some vectors numbers. */
typedef struct {
    const wire *wire;
    const uint8_t *index[VECTORS];
    const int32_t *messages[VECTORS];
    int32_t depth, numbers;
} delivery;

/* Find what arrives at a population in a step of the call, or would after its last; return how many there are. */
int find_deliveries(const block *b, int64_t index, int64_t step, delivery *found);

/* Sum up what arrives at BLOCK neurons from the `first` on, besides what is in their sums unless these are new. */
void collect(const block *b, const delivery *from, int all, int32_t first, int are_new, numbers_of *sums);

/* Take what the host gives an input in a vector of lanes, and update it; there is room for what it sends in `changes`. */
void go_on_input(
    const network *net, const vector *lanes, const hosts *host, int64_t index, int64_t step, int32_t *changes,
    int64_t *counts);

#endif
