/* Steps: what arrives is taken in, populations that anything arrived at are updated, and their messages go on. */
#include <stddef.h>
#include <string.h>

#include "loihi.h"

/* Synapses multiply 16 bits; wider messages pass in parts of 15 bits and a rest. */
#define PART_BITS 15

/* A lane in a step, with the messages of the population that was just updated. What is under way is in scratch memory,
   which stays in the cache; only what still is when the steps end is stored. */
typedef struct {
    int32_t *numbers, *stored;
    uint8_t *arrived;
    int32_t *under_way;
    int32_t *y, *messages, *pairs, *active, *sums, *part;
    int32_t count; /* active pairs; -1 where messages are too wide for one part */
    int sends;
} lane;

static int32_t *under_way(const network *net, const lane *l, int64_t slot)
{
    return l->under_way + slot * net->accumulators;
}

/* Move what is under way between where it is stored and scratch memory, which holds zeros elsewhere. */
static void move_under_way(const network *net, const lane *l, int into_scratch)
{
    for (int64_t slot = 0; slot < net->slots; slot++)
        for (int64_t index = 0; index < net->populations; index++) {
            const population *p = net->population + index;
            if (!l->arrived[slot * net->populations + index])
                continue;
            size_t bytes = sizeof(int32_t) * (size_t)(p->ports * padded(p->size));
            int32_t *stored = l->stored + slot * net->accumulators + p->accumulator;
            int32_t *here = under_way(net, l, slot) + p->accumulator;
            memcpy(into_scratch ? here : stored, into_scratch ? stored : here, bytes);
            if (!into_scratch)
                memset(here, 0, bytes);
        }
}

static int is_wide(const int32_t *messages, int32_t size, int32_t shift)
{
    int32_t wide = 0;
    for (int32_t i = 0; i < size; i++)
        wide |= (messages[i] >> shift) != (int16_t)(messages[i] >> shift);
    return wide != 0;
}

/* Pair messages up, and return how many pairs are not 0. */
static int32_t pack(const lane *l, int32_t size, int32_t shift, int32_t mask)
{
    const int32_t *messages = l->messages;
    int32_t *restrict pairs = l->pairs, *restrict active = l->active, n = 0;
    for (int32_t k = 0; 2 * k < size; k++) {
        uint32_t low = (uint32_t)((messages[2 * k] >> shift) & mask);
        uint32_t high = (uint32_t)((messages[2 * k + 1] >> shift) & mask);
        uint32_t pair = (low & 0xffff) | high << 16;
        pairs[k] = (int32_t)pair;
        active[n] = k;
        n += pair != 0;
    }
    return n;
}

/* Sum what messages of any width deliver. */
static void sum_parts(const lane *l, const wire *w, int32_t size)
{
    memset(l->sums, 0, sizeof(int32_t) * (size_t)w->targets);
    for (int32_t shift = 0, more = 1; more; shift += PART_BITS) {
        more = is_wide(l->messages, size, shift);
        int32_t count = pack(l, size, shift, more ? (1 << PART_BITS) - 1 : -1);
        memset(l->part, 0, sizeof(int32_t) * (size_t)w->targets);
        accumulate(l->part, w->targets, w->weights, l->pairs, l->active, count);
        for (int32_t t = 0; t < w->targets; t++)
            l->sums[t] += l->part[t] << shift;
    }
}

static void deliver_diagonal(const lane *l, const wire *w, int32_t size, int32_t *restrict sums)
{
    int32_t first = w->offset < 0 ? -w->offset : 0;
    int32_t last = size - w->offset < w->targets ? size - w->offset : w->targets;
    const int32_t *messages = l->messages + w->offset;
    for (int32_t t = first; t < last; t++)
        sums[t] += (w->weights[t] * messages[t]) >> w->right_shift;
}

static int32_t *destination(const network *net, const lane *l, const wire *w, int64_t time)
{
    return under_way(net, l, (time + 1 + w->delay) % net->slots) + w->accumulator;
}

/* Sums that are shifted right before they count are made beside their destination. */
static int32_t *begin_sums(const lane *l, const wire *w, int32_t *destination)
{
    if (!w->right_shift)
        return destination;
    return memset(l->sums, 0, sizeof(int32_t) * (size_t)w->targets);
}

static void end_sums(const int32_t *sums, const wire *w, int32_t *destination)
{
    if (sums != destination)
        for (int32_t t = 0; t < w->targets; t++)
            destination[t] += sums[t] >> w->right_shift;
}

static void deliver(const network *net, const lane *l, const wire *w, int32_t size, int64_t time)
{
    int32_t *to = destination(net, l, w, time);
    if (w->diagonal) {
        deliver_diagonal(l, w, size, to);
    } else if (l->count < 0) {
        sum_parts(l, w, size);
        end_sums(l->sums, w, to);
    } else {
        int32_t *sums = begin_sums(l, w, to);
        accumulate(sums, w->targets, w->weights, l->pairs, l->active, l->count);
        end_sums(sums, w, to);
    }
}

/* Deliver in several lanes at once; return whether that pays. */
static int deliver_group(const network *net, const lane *block, const wire *w, int32_t size, int64_t time)
{
    int32_t *sums[GROUP], *to[GROUP], count = (size + 1) / 2;
    const int32_t *pairs[GROUP];
    int64_t active = 0;
    for (int i = 0; i < GROUP; i++) {
        if (!block[i].sends || block[i].count < 0)
            return 0;
        active += block[i].count;
    }
    if (w->diagonal || 2 * active < GROUP * (int64_t)count)
        return 0;
    for (int i = 0; i < GROUP; i++) {
        to[i] = destination(net, block + i, w, time);
        sums[i] = begin_sums(block + i, w, to[i]);
        pairs[i] = block[i].pairs;
    }
    accumulate_group(sums, w->targets, w->weights, pairs, count);
    for (int i = 0; i < GROUP; i++)
        end_sums(sums[i], w, to[i]);
    return 1;
}

static void deliver_block(const network *net, const lane *block, int64_t here, const wire *w, int32_t size, int64_t time)
{
    int64_t slot = (time + 1 + w->delay) % net->slots;
    for (int64_t i = 0; i < here; i++)
        if (block[i].sends)
            block[i].arrived[slot * net->populations + w->target] = 1;
    for (int64_t i = 0; i < here; i++) {
        if (i % GROUP == 0 && i + GROUP <= here && deliver_group(net, block + i, w, size, time))
            i += GROUP - 1;
        else if (block[i].sends)
            deliver(net, block + i, w, size, time);
    }
}

/* Update a population of a lane where anything arrived, was given, or is still to be said. */
static void update(
    const network *net, lane *l, int64_t index, int64_t time, int told, int64_t step, const widths *w, overflow *found)
{
    const population *p = net->population + index;
    int64_t slot = time % net->slots;
    uint8_t *arrived = l->arrived + slot * net->populations + index;
    int32_t *arriving = under_way(net, l, slot), ports = p->ports * padded(p->size);
    l->sends = 0;
    if (!*arrived && !told)
        return;
    if (*arrived)
        for (int32_t i = p->accumulator; i < p->accumulator + ports; i++)
            l->numbers[i] += arriving[i];
    update_population(p, l->numbers, net, l->y, l->messages);
    if (found)
        check_population(p, l->numbers, arriving, l->y, l->messages, w, step, index, found);
    if (*arrived)
        memset(arriving + p->accumulator, 0, sizeof(int32_t) * (size_t)ports);
    *arrived = 0;
    l->messages[p->size] = 0; /* the other half of the last pair */
    l->count = is_wide(l->messages, p->size, 0) ? -1 : pack(l, p->size, 0, -1);
    l->sends = l->count != 0;
}

static void count_messages(const population *p, const lane *l, int64_t *restrict counts, int32_t *record)
{
    for (int32_t i = 0; i < p->size; i++)
        counts[p->counter + i] += l->messages[i] != 0;
    if (record)
        memcpy(record + p->counter, l->messages, sizeof(int32_t) * (size_t)p->size);
}

void nmbrl_loihi_run(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time,
    int64_t lanes, int64_t steps, const uint8_t *given, int64_t *counts, int32_t *record, const widths *w, overflow *found)
{
    int64_t stride = net->accumulators + 2 * (int64_t)net->neurons, slots = net->slots;
    lane block[LANES];
    for (int64_t first = 0; first < lanes; first += net->lanes) {
        int64_t here = lanes - first < net->lanes ? lanes - first : net->lanes;
        for (int64_t i = 0; i < here; i++) {
            int32_t *own = scratch + i * (SCRATCH * (int64_t)net->widest + slots * net->accumulators);
            block[i] = (lane){
                numbers + (first + i) * stride, stored + (first + i) * slots * net->accumulators,
                arrived + (first + i) * slots * net->populations, own + SCRATCH * net->widest, own, own + net->widest, own + 2 * net->widest, own + 3 * net->widest,
                own + 4 * net->widest, own + 5 * net->widest, 0, 0,
            };
            move_under_way(net, block + i, 1);
        }
        for (int64_t step = 0; step < steps; step++) {
            int64_t now = time + step;
            for (int64_t index = 0; index < net->populations; index++) {
                const population *p = net->population + index;
                int told = now == 0 || (step == 0 && given[index]);
                for (int64_t i = 0; i < here; i++) {
                    int64_t row = step * lanes + first + i;
                    update(net, block + i, index, now, told, step, w, found);
                    if (block[i].sends)
                        count_messages(
                            p, block + i, counts + now % net->period * net->counters,
                            record ? record + row * net->counters : NULL);
                }
                for (const wire *wire = net->wire + p->first_wire; wire < net->wire + p->first_wire + p->wires; wire++)
                    deliver_block(net, block, here, wire, p->size, now);
            }
        }
        for (int64_t i = 0; i < here; i++)
            move_under_way(net, block + i, 0);
    }
}
