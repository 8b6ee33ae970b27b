/* What the host gives to spiking networks in many lanes: inputs go through steps where they are stored, lane by lane. */
#include <string.h>

#include "loihi.h"

#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
#include "spikes.h"
#include "transpose.h"

/* Take what the host gives. */
static void take_rows(const network *net, const vector *lanes, const hosts *host, int64_t step, int64_t index)
{
    for (const given *h = host->first; step < host->steps && h < host->first + host->count; h++)
        for (int lane = 0; h->population == index && lane < lanes->lanes; lane++)
            memcpy(
                lanes->numbers + lane * (int64_t)net->numbers + h->first,
                h->values + (step * host->all_lanes + host->lane + lane) * h->size, sizeof(int32_t) * (size_t)h->size);
}

/* Update a block of an input's neurons, whose changes are (lanes, neurons); return whether any is other than 0 and 1. */
static int update_input(
    const vector *lanes, const population *p, int64_t stride, int32_t first, int32_t *changes, uint8_t *index,
    int64_t *counts)
{
    __m512i threshold = _mm512_loadu_si512(p->parameter[0] + first), zero = _mm512_setzero_si512();
    __m512i bits = zero, total = zero, found;
    int32_t size = padded(p->size), *sent = lanes->numbers + p->state + first, sum[BLOCK];
    uint16_t sends[VECTOR] = {0};
    for (int lane = 0; lane < lanes->lanes; lane++, sent += stride, changes += size) {
        __m512i before = _mm512_loadu_si512(sent), change = _mm512_sub_epi32(_mm512_loadu_si512(sent + size), before);
        change = _mm512_maskz_mov_epi32(_mm512_cmpge_epi32_mask(_mm512_abs_epi32(change), threshold), change);
        _mm512_storeu_si512(sent, _mm512_add_epi32(before, change));
        _mm512_storeu_si512(changes, change);
        sends[lane] = _mm512_test_epi32_mask(change, change);
        total = _mm512_mask_add_epi32(total, sends[lane], total, _mm512_set1_epi32(1));
        bits = _mm512_or_si512(bits, change);
    }
    /* Of 16 bits, four for each byte. */
    found = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)sends));
    found = _mm512_and_si512(_mm512_or_si512(found, _mm512_slli_epi32(found, 8)), _mm512_set1_epi32(0x00ff00ff));
    found = _mm512_and_si512(_mm512_or_si512(found, _mm512_slli_epi32(found, 4)), _mm512_set1_epi32(0x0f0f0f0f));
    _mm512_storeu_si512(index, _mm512_or_si512(found, _mm512_set1_epi32(NO_SENDER)));
    _mm512_storeu_si512(sum, total);
    for (int32_t n = 0; n < BLOCK && first + n < p->size; n++)
        counts[n] += sum[n];
    return _mm512_test_epi32_mask(bits, _mm512_set1_epi32(-2)) != 0;
}

void go_on_input(
    const network *net, const vector *lanes, const hosts *host, int64_t index, int64_t step, int32_t *changes,
    int64_t *counts)
{
    const population *p = net->population + index;
    int64_t slot = step % slots_of(net);
    uint8_t *graded = lanes->graded + slot * net->populations + index;
    int32_t *messages = lanes->messages + (slot * net->inputs + p->input) * VECTOR;
    *graded = 0;
    take_rows(net, lanes, host, step, index);
    for (int32_t first = 0; first < p->size; first += BLOCK)
        *graded |= (uint8_t)update_input(
            lanes, p, net->numbers, first, changes + first, index_of(net, p, lanes, first, slot), counts + first);
    if (*graded)
        gather(changes, padded(p->size), lanes->lanes, padded(p->size), messages, VECTOR, 0);
}

#endif
