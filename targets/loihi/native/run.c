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
    uint8_t *stored_arrived, *arrived;
    int32_t *under_way;
    int32_t *y, *messages, *pairs, *active, *sums;
    const int32_t *nothing; /* zeros, for two ports */
    events sent;
    int32_t count; /* active pairs, or NOT_PACKED */
} lane;

#define NOT_PACKED -1

/* Fewer lanes than these go on event by event. */
#define FEW_LANES 8

/* Lanes that go through steps together, and what they share. */
typedef struct {
    lane lane[LANES];
    int64_t lanes;
    int32_t *counts;            /* messages of the population, by neuron */
    uint8_t *low, *high;        /* messages as bytes, by lane */
    int planes;                 /* a bit for each LANES_AT_ONCE of them that are packed */
} block;

static int32_t *under_way(const network *net, const lane *l, int64_t slot)
{
    return l->under_way + slot * net->ports;
}

static uint8_t *arrived(const network *net, const lane *l, int64_t slot)
{
    return l->arrived + slot * net->populations;
}

/* Move what is under way between where it is stored, by steps from now, and scratch memory, which holds zeros elsewhere. */
static void move_under_way(const network *net, const lane *l, int64_t now, int into_scratch)
{
    for (int64_t k = 0; k < net->stored; k++) {
        int64_t slot = (now + k) % net->slots;
        uint8_t *stored_flag = l->stored_arrived + k * net->populations, *flag = arrived(net, l, slot);
        for (int64_t index = 0; index < net->populations; index++) {
            const population *p = net->population + index;
            size_t bytes = sizeof(int32_t) * (size_t)(p->ports * padded(p->size));
            int32_t *stored = l->stored + k * net->ports + p->port, *here = under_way(net, l, slot) + p->port;
            if (into_scratch) {
                flag[index] = stored_flag[index];
                if (flag[index])
                    memcpy(here, stored, bytes);
            } else {
                stored_flag[index] = flag[index];
                if (flag[index]) {
                    memcpy(stored, here, bytes);
                    memset(here, 0, bytes);
                }
            }
        }
    }
}

/* Look at the messages of a lane that was updated, and count them by neuron unless `counts` is null. */
static void survey(lane *l, int32_t size, int32_t *counts)
{
    list_messages(l->messages, size, counts, &l->sent);
    l->count = NOT_PACKED;
}

static void pack(lane *l, int32_t size)
{
    if (l->count != NOT_PACKED)
        return;
    l->count = pair_up(l->messages, size, 0, -1, l->pairs, l->active);
}

static int is_wide(const lane *l)
{
    return l->sent.bits >> PART_BITS != 0;
}

/* Deliver messages of more than 16 bits. */
static void deliver_wide(lane *l, const wire *w, int32_t size, int32_t *to)
{
    wire part = *w;
    int32_t more = 1;
    part.right_shift = 0;
    memset(l->sums, 0, sizeof(int32_t) * (size_t)w->targets);
    for (int32_t shift = 0; more; shift += PART_BITS) {
        more = l->sent.bits >> shift >> PART_BITS != 0;
        int32_t count = pair_up(l->messages, size, shift, more ? (1 << PART_BITS) - 1 : -1, l->pairs, l->active);
        part.factor = (int32_t)((uint32_t)w->factor << shift);
        accumulate(&part, l->pairs, l->active, count, l->sums);
    }
    l->count = NOT_PACKED;
    for (int32_t t = 0; t < w->targets; t++)
        to[t] += l->sums[t] >> w->right_shift;
}

static int32_t *destination(const network *net, const lane *l, const wire *w, int64_t time)
{
    return under_way(net, l, (time + 1 + w->delay) % net->slots) + w->port;
}

static void deliver(const network *net, lane *l, const wire *w, int32_t size, int64_t time)
{
    int32_t *to = destination(net, l, w, time);
    if (w->diagonal) {
        deliver_diagonal(w, l->messages, size, to);
    } else if (w->rows) {
        split_messages(&l->sent);
        deliver_events(w, &l->sent, to);
    } else if (is_wide(l)) {
        deliver_wide(l, w, size, to);
    } else {
        pack(l, size);
        accumulate(w, l->pairs, l->active, l->count, to);
    }
}

/* Deliver in several lanes at once; return whether that pays. */
static int deliver_group(const network *net, lane *group, const wire *w, int32_t size, int64_t time)
{
    int32_t *to[GROUP], count = (size + 1) / 2;
    const int32_t *pairs[GROUP];
    int64_t sends = 0;
    for (int i = 0; i < GROUP; i++) {
        if (!group[i].sent.count || is_wide(group + i))
            return 0;
        sends += group[i].sent.count;
    }
    /* Of so many neurons that send at random, half of the pairs are active where three in ten neurons are. */
    if (10 * sends < 3 * GROUP * (int64_t)size)
        return 0;
    for (int i = 0; i < GROUP; i++) {
        pack(group + i, size);
        to[i] = destination(net, group + i, w, time);
        pairs[i] = group[i].pairs;
    }
    accumulate_group(w, pairs, count, to);
    return 1;
}

/* Deliver in LANES_AT_ONCE lanes as a product of matrices; return whether that pays. */
static int deliver_matrix(const network *net, block *b, int64_t first, const wire *w, int32_t size, int64_t time)
{
    lane *lanes = b->lane + first;
    int64_t here = b->lanes - first < LANES_AT_ONCE ? b->lanes - first : LANES_AT_ONCE, pairs = 0;
    int32_t *to[LANES_AT_ONCE], bits = 0, signs = 0, depth = (size + 63) / 64 * 64;
    for (int64_t i = 0; i < here; i++) {
        /* That are active, where neurons send at random. */
        pairs += lanes[i].sent.count - (int64_t)lanes[i].sent.count * lanes[i].sent.count / (2 * size);
        bits |= lanes[i].sent.count ? lanes[i].sent.bits : 0;
        signs |= lanes[i].sent.count ? lanes[i].sent.signs : 0;
    }
    int planes = bits < (signs < 0 ? 128 : 256) ? 1 : 2;
    /* A product does 1,024 multiplications a cycle and reads 48 bytes of weights; of a pair, events do 13 targets. */
    if (here < FEW_LANES || bits >> PART_BITS || 240 * pairs < depth * (3 * planes * LANES_AT_ONCE + 64))
        return 0;
    int64_t row = (int64_t)depth * first;
    for (int64_t i = 0; i < here; i++) {
        to[i] = lanes[i].sent.count ? destination(net, lanes + i, w, time) : NULL;
        int64_t own = row + i * depth;
        if (b->planes & 1 << (first / LANES_AT_ONCE))
            continue;
        if (lanes[i].sent.count) {
            pack_bytes(lanes[i].messages, size, planes, b->low + own, b->high + own);
        } else {
            memset(b->low + own, 0, (size_t)depth);
            memset(b->high + own, 0, (size_t)depth);
        }
    }
    b->planes |= 1 << (first / LANES_AT_ONCE);
    multiply_lanes(w, size, planes, signs < 0, b->low + row, b->high + row, to, (int)here);
    return 1;
}

static void deliver_block(const network *net, block *b, const wire *w, int32_t size, int64_t time)
{
    int64_t slot = (time + 1 + w->delay) % net->slots, i = 0;
    for (int64_t k = 0; k < b->lanes; k++)
        if (b->lane[k].sent.count)
            arrived(net, b->lane + k, slot)[w->target] = 1;
    while (i < b->lanes) {
        if (w->tiles && i % LANES_AT_ONCE == 0 && deliver_matrix(net, b, i, w, size, time)) {
            i += LANES_AT_ONCE;
        } else if (
            !w->diagonal && !w->rows && i % GROUP == 0 && i + GROUP <= b->lanes && deliver_group(net, b->lane + i, w, size, time)) {
            i += GROUP;
        } else {
            if (b->lane[i].sent.count)
                deliver(net, b->lane + i, w, size, time);
            i++;
        }
    }
}

/* Update a population of a lane where anything arrived, was given, or is still to be said. */
static void update(const network *net, lane *l, int64_t time, int told, place at, int32_t *counts)
{
    const population *p = net->population + at.index;
    uint8_t *has_arrived = arrived(net, l, time % net->slots) + at.index;
    int32_t *slot = under_way(net, l, time % net->slots) + p->port, *state = l->numbers + p->state;
    /* Zeros that all populations share are nearer than those of a slot. */
    const int32_t *arriving = *has_arrived ? slot : l->nothing;
    l->sent.count = 0;
    if (!*has_arrived && !told)
        return;
    if (at.found && p->kind == LIF)
        check_leaky(p, state, arriving, time, at);
    update_population(p, state, arriving, time, at.found != NULL, l->y, l->messages);
    if (at.found)
        check_population(p, state, arriving, l->y, l->messages, at);
    if (*has_arrived)
        memset(slot, 0, sizeof(int32_t) * (size_t)(p->ports * padded(p->size)));
    *has_arrived = 0;
    survey(l, p->size, counts);
}

/* From here on every message but 0 counts as 1. */
static void make_binary(lane *l, int32_t size)
{
    for (int32_t i = 0; i < size; i++)
        l->messages[i] = l->messages[i] != 0;
    survey(l, size, NULL);
}

static void flush(int64_t *restrict counts, int32_t *restrict recent, int32_t size)
{
    for (int32_t i = 0; i < size; i++)
        counts[i] += recent[i];
    memset(recent, 0, sizeof(int32_t) * (size_t)size);
}

static lane make_lane(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *stored_arrived, int32_t *scratch,
    const int32_t *nothing)
{
    int32_t *sources, *digits;
    lane made = {
        .numbers = numbers, .stored = stored, .stored_arrived = stored_arrived, .under_way = scratch, .nothing = nothing};
    int32_t **rows[SCRATCH] = {&made.y,    &made.messages,     &made.pairs,       &made.active,
                               &made.sums, &sources,        &made.sent.values, &digits};
    scratch += net->slots * net->ports;
    made.sent.stride = net->widest;
    for (int row = 0; row < SCRATCH; row++, scratch += net->widest)
        *rows[row] = scratch;
    made.sent.sources = (uint16_t *)sources;
    made.sent.digits = (int8_t *)digits;
    made.arrived = (uint8_t *)scratch;
    return made;
}

/* Take what the host gives a population in a step; return whether it gives anything. */
static int take(const block *b, const hosts *host, int64_t step, int64_t index)
{
    int taken = 0;
    if (step >= host->steps)
        return 0;
    for (const given *h = host->first; h < host->first + host->count; h++) {
        if (h->population != index)
            continue;
        const int32_t *values = h->values + (step * host->all_lanes + host->lane) * h->size;
        for (int64_t i = 0; i < b->lanes; i++)
            memcpy(b->lane[i].numbers + h->first, values + i * h->size, sizeof(int32_t) * (size_t)h->size);
        taken = 1;
    }
    return taken;
}

/* Update a population in all lanes and deliver what it sends. */
static void go_on(
    const network *net, block *b, const hosts *host, int64_t now, place at, int64_t *counts, int32_t *record)
{
    const population *p = net->population + at.index;
    const wire *wire = net->wire + p->first_wire, *end = wire + p->wires;
    int any = 0, told = take(b, host, at.step, at.index) || !net->rests || now == 0;
    int64_t row = at.step * host->all_lanes + host->lane;
    for (int64_t i = 0; i < b->lanes; i++) {
        update(net, b->lane + i, now, told, at, b->counts);
        if (!b->lane[i].sent.count)
            continue;
        if (record)
            memcpy(
                record + (row + i) * net->counters + p->counter, b->lane[i].messages, sizeof(int32_t) * (size_t)p->size);
        any = 1;
    }
    if (!any)
        return;
    flush(counts + p->counter, b->counts, p->size);
    b->planes = 0;
    for (int binary = 0; wire < end; wire++) {
        if (wire->binary && !binary) {
            b->planes = 0;
            for (int64_t i = 0; i < b->lanes; i++)
                if (b->lane[i].sent.count)
                    make_binary(b->lane + i, p->size);
        }
        binary = wire->binary;
        deliver_block(net, b, wire, p->size, now);
    }
}

/* Go through some steps, group by group: what a group needs stays in the cache for as long. */
static void go_through(
    const network *net, block *b, const hosts *host, int64_t time, int64_t first, int64_t steps, int64_t *counts,
    int32_t *record, overflow *found)
{
    for (int32_t group = 0, start = 0; group < net->groups; start = net->ends[group++])
        for (int64_t step = first; step < first + steps; step++) {
            int64_t now = time + step;
            int64_t *counted = counts + now % net->period * net->counters;
            for (int32_t i = start; i < net->ends[group]; i++)
                go_on(net, b, host, now, (place){step, net->order[i], found}, counted, record);
        }
}

/* Run lanes the first of which has these numbers, and is `host->lane`. */
static void run_lanes(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time, int64_t lanes,
    int64_t steps, const hosts *host, int64_t *counts, int32_t *record, overflow *found)
{
    int64_t kept = net->stored, populations = net->populations, first = 0;
    hosts here = *host;
    block b;
    b.counts = scratch + net->lanes * (int64_t)net->scratch;
    const int32_t *nothing = b.counts + net->widest;
    b.low = (uint8_t *)(b.counts + 3 * net->widest);
    b.high = b.low + LANES * (int64_t)(net->widest + 64);
    while (net->spikes && !record && !found && lanes - first >= FEW_SPIKING_LANES) {
        int64_t some = lanes - first < SPIKING_LANES ? lanes - first : SPIKING_LANES;
        some -= some % VECTOR < FEW_SPIKING_LANES ? some % VECTOR : 0;
        here.lane = host->lane + first;
        run_spikes(
            net, numbers + first * net->numbers, stored + first * kept * net->ports, arrived + first * kept * populations,
            (int32_t *)(b.high + LANES * (int64_t)(net->widest + 64)), time, some, steps, &here, counts);
        first += some;
    }
    if (net->events && !record && !found && first < lanes) {
        here.lane = host->lane + first;
        run_events(
            net, numbers + first * net->numbers, stored + first * kept * net->ports, arrived + first * kept * populations,
            scratch + net->event_scratch, time, lanes - first, steps, &here, counts);
        return;
    }
    if (net->matrices)
        open_matrices();
    for (; first < lanes; first += net->lanes) {
        here.lane = host->lane + first;
        b.lanes = lanes - first < net->lanes ? lanes - first : net->lanes;
        for (int64_t i = 0; i < b.lanes; i++) {
            int64_t l = first + i;
            b.lane[i] = make_lane(
                net, numbers + l * net->numbers, stored + l * kept * net->ports, arrived + l * kept * populations,
                scratch + i * net->scratch, nothing);
            move_under_way(net, b.lane + i, time, 1);
        }
        for (int64_t step = 0; step < steps; step += net->chunk)
            go_through(
                net, &b, &here, time, step, steps - step < net->chunk ? steps - step : net->chunk, counts, record, found);
        for (int64_t i = 0; i < b.lanes; i++)
            move_under_way(net, b.lane + i, time + steps, 0);
    }
    if (net->matrices)
        close_matrices();
}

void nmbrl_loihi_run(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time,
    int64_t lanes, int64_t steps, const given *host, int64_t host_count, int64_t given_steps, int64_t *counts,
    int32_t *record, overflow *found, int64_t share, int64_t thread, int64_t threads, int64_t *taken)
{
    int64_t part = (lanes + threads - 1) / threads;
    for (int64_t i = 0; i < threads; i++) {
        int64_t whose = (thread + i) % threads, first;
        int64_t end = (whose + 1) * part < lanes ? (whose + 1) * part : lanes;
        while ((first = whose * part + __atomic_fetch_add(taken + whose, share, __ATOMIC_RELAXED)) < end) {
            hosts given_here = {host, host_count, given_steps, lanes, first};
            run_lanes(
                net, numbers + first * net->numbers, stored + first * net->stored * net->ports,
                arrived + first * net->stored * net->populations, scratch, time, end - first < share ? end - first : share,
                steps, &given_here, counts, record, found);
        }
    }
}
