/* Spiking networks in many lanes, 16 to a vector: group by group of populations, and in each group four vectors at a time
   go through all steps, so that their state and the group's tables stay in the cache. */
#include <string.h>

#include "loihi.h"

#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
#include "leaky.h"
#include "spikes.h"
#include "transpose.h"

/* How far u and v of floats may be from 0. */
#define MOST_STATE ((1 << 23) - 1)

/* Vectors in a group of populations. */
typedef struct {
    block block;
    int32_t *numbers; /* (numbers, vectors, VECTOR) */
    uint64_t lanes;   /* a bit for each that there is */
    uint8_t *floats;  /* whether a population's u and v are floats, as long as no number needs more bits than they have */
    const int32_t *group, *end; /* its populations */
} state;

static int32_t *variable_of(const state *s, const population *p, int32_t variable)
{
    return s->numbers + (p->place + variable * padded(p->size)) * s->block.count * VECTOR;
}

/* Whether no number is farther from 0. */
static int are_within(const int32_t *numbers, int32_t vectors, int32_t most)
{
    __m512i largest = _mm512_setzero_si512();
    for (int32_t i = 0; i < vectors; i++)
        largest = _mm512_max_epu32(largest, _mm512_abs_epi32(_mm512_loadu_si512(numbers + i * VECTOR)));
    return _mm512_cmpgt_epu32_mask(largest, _mm512_set1_epi32(most)) == 0;
}

/* Turn u and v into integers, from here on. */
static void leave_floats(state *s, int64_t index)
{
    const population *p = s->block.net->population + index;
    int32_t *x = variable_of(s, p, 0), *end = variable_of(s, p, 2);
    for (; s->floats[index] && x < end; x += VECTOR)
        _mm512_storeu_si512(x, _mm512_cvttps_epi32(_mm512_loadu_ps(x)));
    s->floats[index] = 0;
}

/* Variables that change: nothing is given to most leaky neurons. */
static int32_t variables_of(const population *p)
{
    return p->takes ? 3 : 2;
}

/* Bring a group's leaky neurons from where they are stored into vectors, as floats where these hold all. */
static void fetch(state *s)
{
    const network *net = s->block.net;
    int step = s->block.count * VECTOR;
    for (const int32_t *index = s->group; index < s->end; index++) {
        const population *p = net->population + *index;
        int32_t size = padded(p->size), more = (variables_of(p) - 2) * size, *here = variable_of(s, p, 0);
        int fit = p->most_arriving >= 0;
        for (int v = 0; p->kind == LIF && v < s->block.count; v++) {
            const vector *lanes = s->block.vector + v;
            int32_t *row = lanes->numbers + p->state, *to = here + v * VECTOR;
            fit = fit && gather_floats(row, net->numbers, lanes->lanes, 2 * size, to, step, MOST_STATE);
            fit &= gather(row + 2 * size, net->numbers, lanes->lanes, more, to + 2 * size * step, step, p->most_given);
        }
        for (int v = 0; p->kind == LIF && !fit && v < s->block.count; v++) {
            const vector *lanes = s->block.vector + v;
            gather(lanes->numbers + p->state, net->numbers, lanes->lanes, 2 * size, here + v * VECTOR, step, 0);
        }
        s->floats[*index] = (uint8_t)fit;
    }
}

/* And back. */
static void put_back(state *s)
{
    const network *net = s->block.net;
    int step = s->block.count * VECTOR;
    for (const int32_t *index = s->group; index < s->end; index++) {
        const population *p = net->population + *index;
        int32_t size = padded(p->size), more = (variables_of(p) - 2) * size;
        for (int v = 0; p->kind == LIF && v < s->block.count; v++) {
            const vector *lanes = s->block.vector + v;
            int32_t *row = lanes->numbers + p->state, *from = variable_of(s, p, 0) + v * VECTOR;
            scatter(from, step, 2 * size, net->numbers, lanes->lanes, row, s->floats[*index]);
            scatter(from + 2 * size * step, step, more, net->numbers, lanes->lanes, row + 2 * size, 0);
        }
    }
}

/* Take what the host gives leaky neurons in a step. */
static void take(state *s, const hosts *host, int64_t step, int64_t index)
{
    const population *p = s->block.net->population + index;
    int count = s->block.count;
    if (step >= host->steps)
        return;
    for (const given *h = host->first; h < host->first + host->count; h++) {
        if (h->population != index)
            continue;
        const int32_t *values = h->values + (step * host->all_lanes + host->lane) * h->size;
        int32_t *here = variable_of(s, p, 0) + (h->first - p->state) * count * VECTOR;
        int fit = here >= variable_of(s, p, 2); /* as a current; u and v are integers here */
        if (!fit)
            leave_floats(s, index);
        for (int v = 0; v < count; v++)
            fit &= gather(
                values + VECTOR * v * h->size, h->size, s->block.vector[v].lanes, (int32_t)h->size, here + v * VECTOR,
                count * VECTOR, p->most_given);
        if (!fit)
            leave_floats(s, index);
    }
}

/* Update a block of leaky neurons in `count` vectors. */
INLINE void update_vectors(
    const state *s, const population *p, int count, int are_floats, int takes, int32_t first, numbers_of *sums,
    int64_t slot, int64_t *counts)
{
    const int32_t *parameter[9];
    int32_t size = padded(p->size) * count * VECTOR, *u = variable_of(s, p, 0) + first * count * VECTOR;
    int32_t end = p->size - first < BLOCK ? p->size - first : BLOCK;
    __m512i index[VECTORS];
    memcpy(parameter, p->parameter, sizeof parameter);
    for (int v = 0; v < count; v++)
        index[v] = _mm512_set1_epi32(NO_SENDER);
    for (int n = 0; n < end; n++) {
        __m512i mantissa = parameter_at(parameter[2], first + n, 1), exponent = parameter_at(parameter[3], first + n, 1);
        __m512 bias = _mm512_cvtepi32_ps(parameter_at(parameter[6], first + n, 1));
        __m512 threshold = _mm512_cvtepi32_ps(parameter_at(parameter[4], first + n, 1));
        __m512 keeps_u = _mm512_castsi512_ps(parameter_at(parameter[7], first + n, 1));
        __m512 keeps_v = _mm512_castsi512_ps(parameter_at(parameter[8], first + n, 1));
        __mmask16 sends[VECTORS] = {0}, below;
        for (int v = 0; v < count; v++) {
            int32_t *here = u + (n * count + v) * VECTOR;
            __m512i arriving = _mm512_loadu_si512(sums[n][v]);
            if (are_floats && takes) {
                __m512i given = _mm512_add_epi32(mantissa, _mm512_loadu_si512(here + 2 * size));
                bias = _mm512_cvtepi32_ps(_mm512_sllv_epi32(given, exponent));
            }
            if (are_floats)
                sends[v] = step_floats(keeps_u, keeps_v, bias, threshold, (float *)here, (float *)(here + size), arriving);
            else
                sends[v] = step_leaky(
                    parameter, first + n, 1, here, here + size, takes ? here + 2 * size : NULL, arriving, 0, &below);
            index[v] = add_to_index(index[v], n, sends[v]);
        }
        __mmask64 all = _mm512_kunpackd(_mm512_kunpackw(sends[3], sends[2]), _mm512_kunpackw(sends[1], sends[0]));
        counts[n] += __builtin_popcountll(all & s->lanes);
    }
    for (int v = 0; v < count; v++)
        _mm512_storeu_si512(index_of(s->block.net, p, s->block.vector + v, first, slot), index[v]);
}

INLINE void update_leaky(
    const state *s, const population *p, int count, int are_floats, int32_t first, numbers_of *sums, int64_t slot,
    int64_t *counts)
{
    if (are_floats && p->takes)
        update_vectors(s, p, count, 1, 1, first, sums, slot, counts);
    else if (are_floats)
        update_vectors(s, p, count, 1, 0, first, sums, slot, counts);
    else if (p->takes)
        update_vectors(s, p, count, 0, 1, first, sums, slot, counts);
    else
        update_vectors(s, p, count, 0, 0, first, sums, slot, counts);
}

/* Fetch what was under way to a block of neurons when the call began. */
static void fetch_under_way(const block *b, int64_t index, int64_t step, int32_t first, numbers_of *sums)
{
    const network *net = b->net;
    int64_t row = (int64_t)net->stored * net->ports, flags = (int64_t)net->stored * net->populations;
    for (int v = 0; v < b->count; v++) {
        const vector *lanes = b->vector + v;
        const uint8_t *arrived = lanes->arrived + step * net->populations + index;
        int32_t *stored = lanes->stored + step * net->ports + net->population[index].port + first;
        for (int lane = 0; lane < lanes->lanes; lane++)
            if (!arrived[lane * flags])
                memset(stored + lane * row, 0, sizeof(int32_t) * BLOCK);
        gather(stored, row, lanes->lanes, BLOCK, sums[0][v], VECTORS * VECTOR, 0);
    }
}

/* Take what arrives in, and update. */
static void go_on_leaky(state *s, int64_t index, int64_t step, int64_t *counts)
{
    const block *b = &s->block;
    const population *p = b->net->population + index;
    int64_t slot = step % slots_of(b->net);
    delivery from[b->net->wires + 1];
    int all = find_deliveries(b, index, step, from), known = step >= b->net->stored;
    numbers_of sums[BLOCK] ALIGNED;
    for (int i = 0; i < all; i++)
        known &= !from[i].numbers;
    for (int32_t first = 0; first < p->size; first += BLOCK) {
        if (step < b->net->stored)
            fetch_under_way(b, index, step, first, sums);
        collect(b, from, all, first, step >= b->net->stored, sums);
        for (int n = 0; !known && n < BLOCK; n++)
            if (s->floats[index] && !are_within(sums[n][0], b->count, p->most_arriving))
                leave_floats(s, index);
        if (b->count == VECTORS)
            update_leaky(s, p, VECTORS, s->floats[index], first, sums, slot, counts + first);
        else if (b->count == 2)
            update_leaky(s, p, 2, s->floats[index], first, sums, slot, counts + first);
        else
            update_leaky(s, p, 1, s->floats[index], first, sums, slot, counts + first);
    }
}

static void go_on(state *s, const hosts *host, int64_t time, int64_t step, int64_t index, int64_t *counts)
{
    const population *p = s->block.net->population + index;
    counts += (time + step) % s->block.net->period * s->block.net->counters + p->counter;
    if (p->kind == INPUT) {
        hosts here = *host;
        for (int v = 0; v < s->block.count; v++, here.lane += VECTOR)
            go_on_input(s->block.net, s->block.vector + v, &here, index, step, variable_of(s, p, 0), counts);
        return;
    }
    take(s, host, step, index);
    if (p->reset_interval && (time + step + 1 - p->reset_offset) % p->reset_interval == 0)
        memset(variable_of(s, p, 0), 0, sizeof(int32_t) * (size_t)(variable_of(s, p, 2) - variable_of(s, p, 0)));
    go_on_leaky(s, index, step, counts);
}

/* Store what is under way to a population when all steps are done. */
static void store_under_way(const block *b, int64_t index)
{
    const network *net = b->net;
    const population *p = net->population + index;
    int64_t row = (int64_t)net->stored * net->ports, flags = (int64_t)net->stored * net->populations;
    for (int64_t k = 0; k < net->stored; k++) {
        delivery from[net->wires + 1];
        int all = find_deliveries(b, index, b->steps + k, from), are_new = b->steps + k >= net->stored;
        for (int32_t first = 0; first < p->size; first += BLOCK) {
            numbers_of sums[BLOCK] ALIGNED;
            if (!are_new)
                fetch_under_way(b, index, b->steps + k, first, sums);
            collect(b, from, all, first, are_new, sums);
            for (int v = 0; v < b->count; v++)
                scatter(
                    sums[0][v], VECTORS * VECTOR, BLOCK, row, b->vector[v].lanes,
                    b->vector[v].stored + k * net->ports + p->port + first, 0);
        }
        for (int v = 0; v < b->count; v++)
            for (int64_t lane = 0; lane < b->vector[v].lanes; lane++)
                b->vector[v].arrived[lane * flags + k * net->populations + index] = 1;
    }
}

static int vectors_at_once(int left)
{
    return left >= VECTORS ? VECTORS : left >= 2 ? 2 : 1;
}

/* Go through some steps in a group, `count` vectors at a time. */
static void go_through(
    state *s, vector *vectors, int count, const hosts *host, int64_t time, int64_t first, int64_t last, int64_t *counts)
{
    for (int v = 0; v < count; v += s->block.count) {
        hosts here = *host;
        here.lane += VECTOR * v;
        s->block.vector = vectors + v;
        s->block.count = vectors_at_once(count - v);
        s->lanes = 0;
        for (int i = 0; i < s->block.count; i++)
            s->lanes |= (uint64_t)((1 << vectors[v + i].lanes) - 1) << VECTOR * i;
        fetch(s);
        for (int64_t step = first; step < last; step++)
            for (const int32_t *index = s->group; index < s->end; index++)
                go_on(s, &here, time, step, *index, counts);
        put_back(s);
    }
}

void run_spikes(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time,
    int64_t lanes, int64_t steps, const hosts *host, int64_t *counts)
{
    vector vectors[SPIKING_LANES / VECTOR];
    state s = {.block = {.net = net, .vector = vectors, .steps = steps}};
    int count = 0;
    s.numbers = scratch;
    scratch += net->held * VECTORS * VECTOR;
    for (int64_t lane = 0; lane < lanes; lane += VECTOR, scratch += net->spikes) {
        vector *made = vectors + count++;
        made->lanes = lanes - lane < VECTOR ? (int32_t)(lanes - lane) : VECTOR;
        made->numbers = numbers + lane * net->numbers;
        made->stored = stored + lane * net->stored * net->ports;
        made->arrived = arrived + lane * net->stored * net->populations;
        made->messages = scratch;
        made->index = (uint8_t *)(made->messages + slots_of(net) * net->inputs * VECTOR);
        made->graded = made->index + slots_of(net) * net->indices;
    }
    s.floats = (uint8_t *)scratch;
    for (int64_t first = 0; first < steps; first += SPIKING_STEPS)
        for (int32_t group = 0, start = 0; group < net->groups; start = net->ends[group++]) {
            int64_t last = first + SPIKING_STEPS < steps ? first + SPIKING_STEPS : steps;
            s.group = net->order + start;
            s.end = net->order + net->ends[group];
            go_through(&s, vectors, count, host, time, first, last, counts);
        }
    for (int64_t index = 0; index < net->populations; index++)
        for (int v = 0; net->population[index].kind == LIF && v < count; v += s.block.count) {
            s.block.vector = vectors + v;
            s.block.count = vectors_at_once(count - v);
            store_under_way(&s.block, index);
        }
}

int nmbrl_loihi_has_tables(void)
{
    return 1;
}

#else

int nmbrl_loihi_has_tables(void)
{
    return 0;
}

void run_spikes(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time,
    int64_t lanes, int64_t steps, const hosts *host, int64_t *counts)
{
    (void)net, (void)numbers, (void)stored, (void)arrived, (void)scratch, (void)time, (void)lanes;
    (void)steps, (void)host, (void)counts;
}

#endif
