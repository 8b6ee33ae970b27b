/* Networks whose synapses are passed event by event. Some lanes at a time go through some steps of a group of populations,
   so that their state and its weights stay in the cache. What populations send is kept, and what arrives at one is summed up from
   what its sources have kept, 64 neurons at a time, in registers; it is stored only where steps end. */
#include <string.h>

#include "loihi.h"

#if defined(__AVX512VBMI2__) && defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
#include "listing.h"

/* Steps ahead in which what the host gives is fetched. */
#define AHEAD 8

/* What a population's source sent in a step, lane by lane, and by what wire. */
typedef struct {
    const wire *wire;
    const events *sent;
} delivery;

/* Lanes in which anything arrives, a bit each: what was stored, and what is sent in these steps. */
typedef struct {
    uint32_t stored, sent;
} arrivals;

/* Lanes that go through some steps, and what they send in these. */
typedef struct {
    const network *net;
    const hosts *host;
    int32_t *numbers, *stored;
    uint8_t *arrived;
    int64_t time, first, lanes, steps; /* `first` of a call */
    const wire **into;                 /* wires by their targets, whose first are at `starts` */
    int32_t *starts;
    delivery *found;                   /* `count` that arrive at a population in a step */
    int count;
    events *sent;    /* (populations, steps, lanes) */
    events room;     /* for what is sent next, with `values` of all neurons where a diagonal takes them */
    uint64_t *sends; /* (steps, lanes, words): a bit for each neuron that does */
    arrivals *arrives; /* (populations, steps and those still under way) */
    int32_t *sums, *y, *messages;
    const int32_t *nothing;
} run;

static events *sent_by(const run *r, int64_t index, int64_t step)
{
    return r->sent + (index * r->steps + step) * r->lanes;
}

static int32_t *stored_at(const run *r, const population *p, int64_t lane, int64_t step)
{
    return r->stored + (lane * r->net->stored + step) * r->net->ports + p->port;
}

static uint8_t *arrived_at(const run *r, int64_t index, int64_t lane, int64_t step)
{
    return r->arrived + (lane * r->net->stored + step) * r->net->populations + index;
}

static arrivals *arrives_at(const run *r, int64_t index, int64_t step)
{
    return r->arrives + index * (r->steps + r->net->stored) + step;
}

static void sort_wires(const run *r)
{
    const network *net = r->net;
    int32_t count = 0;
    for (int32_t index = 0; index < net->populations; index++) {
        r->starts[index] = count;
        for (const wire *w = net->wire; w < net->wire + net->wires; w++)
            if (w->target == index)
                r->into[count++] = w;
    }
    r->starts[net->populations] = count;
}

/* Find what arrives at a population in a step. */
static void find(run *r, int64_t index, int64_t step)
{
    r->count = 0;
    for (const wire **w = r->into + r->starts[index]; w < r->into + r->starts[index + 1]; w++) {
        int64_t when = step - 1 - (*w)->delay;
        if (when >= 0 && when < r->steps)
            r->found[r->count++] = (delivery){*w, sent_by(r, (*w)->source, when)};
    }
}

/* Add what was found to a population's sums in a lane, unless these are new. */
static void collect(const run *r, const population *p, int64_t lane, int are_new, int32_t *sums)
{
    if (are_new)
        memset(sums, 0, sizeof(int32_t) * (size_t)(p->ports * padded(p->size)));
    for (const delivery *d = r->found; d < r->found + r->count; d++) {
        const events *sent = d->sent + lane;
        int32_t *to = sums + d->wire->port - p->port;
        if (!sent->count)
            continue;
        if (d->wire->diagonal)
            deliver_diagonal(d->wire, sent->values, r->net->population[d->wire->source].size, to);
        else
            deliver_events(d->wire, sent, to);
    }
}

/* Take what the host gives a population in a step; return whether it gives anything. */
static int take(const run *r, int64_t index, int64_t step)
{
    const hosts *host = r->host;
    int taken = 0;
    for (const given *h = host->first; step < host->steps && h < host->first + host->count; h++) {
        if (h->population != index)
            continue;
        for (int64_t lane = 0; lane < r->lanes; lane++) {
            const int32_t *values = h->values + (step * host->all_lanes + host->lane + lane) * h->size;
            for (int64_t i = 0; i < h->size && step + AHEAD < host->steps; i += BLOCK)
                __builtin_prefetch(values + AHEAD * host->all_lanes * h->size + i);
            memcpy(r->numbers + lane * r->net->numbers + h->first, values, sizeof(int32_t) * (size_t)h->size);
        }
        taken = 1;
    }
    return taken;
}

/* Inputs or sigma-delta neurons of a lane. */
typedef struct {
    int32_t *sums, *sent;
    const int32_t *bias, *threshold;
    __m512i floor;
    __m128i shift;
} senders;

/* Update BLOCK of them from the `i`-th on, as update_population does, and return their messages. */
INLINE __m512i update_block(const senders *s, int64_t i, __m512i arriving)
{
    __m512i sum = _mm512_add_epi32(_mm512_loadu_si512(s->sums + i), arriving);
    __m512i active = _mm512_max_epi32(_mm512_add_epi32(sum, _mm512_loadu_si512(s->bias + i)), s->floor);
    __m512i before = _mm512_loadu_si512(s->sent + i);
    __m512i change = _mm512_abs_epi32(_mm512_sub_epi32(active, _mm512_sll_epi32(before, s->shift)));
    __mmask16 sends = _mm512_cmpge_epi32_mask(change, _mm512_loadu_si512(s->threshold + i));
    __m512i message = _mm512_maskz_sub_epi32(sends, _mm512_sra_epi32(active, s->shift), before);
    _mm512_storeu_si512(s->sums + i, sum);
    _mm512_storeu_si512(s->sent + i, _mm512_add_epi32(before, message));
    return message;
}

INLINE void add_delivery(const wire *w, const events *sent, int planes, int64_t first, __m512i *sums)
{
    fours sum;
    sum_fours(w, sent, planes, 1, first, sum);
    UNROLL for (int i = 0; i < 4; i++)
        sums[i] = _mm512_add_epi32(sums[i], finish_fours(w, planes, i, sum));
}

/* Update `blocks` of them, a word at most, by what arrives, and list what they send. */
INLINE uint64_t update_word(
    const senders *s, const run *r, int64_t lane, const int32_t *stored, int64_t first, int blocks, list *l)
{
    __m512i x[WORD / BLOCK];
    for (int i = 0; i < WORD / BLOCK; i++)
        x[i] = stored && i < blocks ? _mm512_loadu_si512(stored + first + i * BLOCK) : _mm512_setzero_si512();
    for (const delivery *d = r->found; d < r->found + r->count; d++) {
        const events *sent = d->sent + lane;
        if (!sent->count)
            continue;
        if (sent->planes == 1)
            add_delivery(d->wire, sent, 1, first, x);
        else if (sent->planes == 2)
            add_delivery(d->wire, sent, 2, first, x);
        else if (sent->planes == 3)
            add_delivery(d->wire, sent, 3, first, x);
        else
            add_delivery(d->wire, sent, 4, first, x);
    }
    for (int i = 0; i < WORD / BLOCK; i++)
        x[i] = i < blocks ? update_block(s, first + i * BLOCK, x[i]) : _mm512_setzero_si512();
    return list_word(l, x, (int32_t)first);
}

/* Update inputs or sigma-delta neurons that have no diagonals, and list what they send. */
INLINE void update_senders(
    const run *r, const population *p, int64_t lane, int32_t *state, const int32_t *stored, uint64_t *sends, events *to)
{
    int64_t size = padded(p->size);
    /* An input is one whose sum the host gives. */
    int is_input = p->kind == INPUT;
    senders s = {
        .sums = is_input ? state + size : state,
        .sent = is_input ? state : state + size,
        .bias = is_input ? r->nothing : p->parameter[1],
        .threshold = p->parameter[0],
        .floor = _mm512_set1_epi32(!is_input && p->relu ? 0 : INT32_MIN),
        .shift = _mm_cvtsi32_si128(p->shift),
    };
    list l = begin_list(to);
    for (int64_t first = 0; first < size; first += WORD)
        if (size - first >= WORD)
            *sends++ = update_word(&s, r, lane, stored, first, WORD / BLOCK, &l);
        else
            *sends++ = update_word(&s, r, lane, stored, first, (int)(size - first) / BLOCK, &l);
    end_list(&l);
}

static void list_all(const int32_t *messages, int32_t size, uint64_t *sends, events *to)
{
    list l = begin_list(to);
    for (int32_t first = 0; first < size; first += WORD) {
        uint64_t there = size - first < WORD ? ((uint64_t)1 << (size - first)) - 1 : ~(uint64_t)0;
        __m512i x[WORD / BLOCK];
        for (int i = 0; i < WORD / BLOCK; i++)
            x[i] = _mm512_maskz_loadu_epi32((__mmask16)(there >> i * BLOCK), messages + first + i * BLOCK);
        *sends++ = list_word(&l, x, first);
    }
    end_list(&l);
}

/* Update a population in some lanes by what arrives, and keep what it sends; return the lanes in which it does. */
static uint32_t go_on(run *r, int64_t index, int64_t step, uint32_t lanes, uint32_t are_stored)
{
    const network *net = r->net;
    const population *p = net->population + index;
    int are_simple = (p->kind == INPUT || p->kind == SIGMA_DELTA) && !p->diagonals;
    events *to = sent_by(r, index, step), room = r->room;
    uint32_t sent = 0;
    for (int64_t lane = 0; lane < r->lanes; lane++, to++) {
        int32_t *state = r->numbers + lane * net->numbers + p->state;
        int32_t *stored = are_stored >> lane & 1 ? stored_at(r, p, lane, step) : NULL;
        uint64_t *sends = r->sends + (step * r->lanes + lane) * net->words + p->word;
        *to = room;
        if (!(lanes >> lane & 1))
            continue;
        if (are_simple) {
            update_senders(r, p, lane, state, stored, sends, to);
        } else {
            int32_t *sums = stored ? stored : r->sums, *messages = p->diagonals ? to->values : r->messages;
            collect(r, p, lane, !stored, sums);
            update_population(p, state, sums, r->time + r->first + step, 0, r->y, messages);
            list_all(messages, p->size, sends, to);
        }
        if (!to->count)
            continue;
        sent |= (uint32_t)1 << lane;
        room.sources += (to->count + 3) / 4 * 4;
        room.digits += (to->count + 3) / 4 * 4;
        room.values += p->diagonals ? padded(p->size) : 0;
    }
    r->room = room;
    return sent;
}

/* The same in all lanes where anything arrives, is given, or is still to be said. */
static void go_on_in_all(run *r, int64_t index, int64_t step)
{
    const network *net = r->net;
    const population *p = net->population + index;
    arrivals arrives = *arrives_at(r, index, step);
    int told = take(r, index, r->first + step) || !net->rests || r->time + r->first + step == 0;
    uint32_t lanes = told ? ~(uint32_t)0 : arrives.stored | arrives.sent;
    if (!lanes) {
        for (events *e = sent_by(r, index, step); e < sent_by(r, index, step) + r->lanes; e++)
            e->count = 0;
        return;
    }
    find(r, index, step);
    uint32_t sent = go_on(r, index, step, lanes, arrives.stored);
    for (const wire *w = net->wire + p->first_wire; sent && w < net->wire + p->first_wire + p->wires; w++)
        arrives_at(r, w->target, step + 1 + w->delay)->sent |= sent;
}

/* Count the messages of a population by neuron; fewer lanes than a byte counts. */
static void count_messages(const run *r, int64_t index, int64_t *counts)
{
    const network *net = r->net;
    const population *p = net->population + index;
    for (int64_t step = 0; step < r->steps; step++) {
        int64_t *row = counts + (r->time + r->first + step) % net->period * net->counters + p->counter;
        for (int32_t first = 0; first < p->size; first += WORD) {
            const uint64_t *sends = r->sends + step * r->lanes * net->words + p->word + first / WORD;
            uint8_t by_neuron[WORD];
            uint64_t any = 0;
            __m512i all = _mm512_setzero_si512();
            for (int64_t lane = 0; lane < r->lanes; lane++) {
                any |= sends[lane * net->words];
                all = _mm512_sub_epi8(all, _mm512_movm_epi8(sends[lane * net->words]));
            }
            _mm512_storeu_si512(by_neuron, all);
            for (int32_t i = first; any; any >>= 8, i += 8) {
                __mmask8 there = p->size - i < 8 ? (__mmask8)((1 << (p->size - i)) - 1) : 0xff;
                __m512i more = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)(by_neuron + i - first)));
                if (any & 0xff)
                    _mm512_mask_storeu_epi64(
                        row + i, there, _mm512_add_epi64(_mm512_maskz_loadu_epi64(there, row + i), more));
            }
        }
    }
}

/* Store what is still under way to a population when all steps are done. */
static void store_under_way(run *r, int64_t index)
{
    const network *net = r->net;
    const population *p = net->population + index;
    for (int64_t k = 0; k < net->stored; k++) {
        arrivals arrives = *arrives_at(r, index, r->steps + k);
        find(r, index, r->steps + k);
        for (int64_t lane = 0; lane < r->lanes; lane++) {
            int is_stored = arrives.stored >> lane & 1, is_sent = arrives.sent >> lane & 1;
            int32_t *sums = stored_at(r, p, lane, k);
            if (is_stored)
                memcpy(
                    sums, stored_at(r, p, lane, r->steps + k), sizeof(int32_t) * (size_t)(p->ports * padded(p->size)));
            if (is_sent)
                collect(r, p, lane, !is_stored, sums);
            *arrived_at(r, index, lane, k) = (uint8_t)(is_stored | is_sent);
        }
    }
}

static void go_through(run *r, int64_t *counts)
{
    const network *net = r->net;
    memset(r->sends, 0, sizeof *r->sends * (size_t)(r->steps * r->lanes * net->words));
    memset(r->arrives, 0, sizeof *r->arrives * (size_t)(net->populations * (r->steps + net->stored)));
    for (int64_t index = 0; index < net->populations; index++)
        for (int64_t step = 0; step < net->stored; step++)
            for (int64_t lane = 0; lane < r->lanes; lane++)
                arrives_at(r, index, step)->stored |= (uint32_t)(*arrived_at(r, index, lane, step) != 0) << lane;
    for (int32_t group = 0, start = 0; group < net->groups; start = net->ends[group++]) {
        for (int64_t step = 0; step < r->steps; step++)
            for (int32_t i = start; i < net->ends[group]; i++)
                go_on_in_all(r, net->order[i], step);
        for (int32_t i = start; i < net->ends[group]; i++)
            count_messages(r, net->order[i], counts);
    }
    for (int64_t index = 0; index < net->populations; index++)
        store_under_way(r, index);
}

void run_events(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time,
    int64_t lanes, int64_t steps, const hosts *host, int64_t *counts)
{
    int32_t most = EVENT_LANES * EVENT_STEPS, most_sent = most * net->events;
    hosts here = *host;
    run r = {.net = net, .host = &here, .time = time};
    events room = {.sources = (uint16_t *)scratch, .digits = (int8_t *)(scratch + most_sent / 2), .stride = most_sent};
    room.values = scratch + most_sent / 2 + most_sent / 4 * MOST_PLANES;
    r.sums = room.values + most_sent;
    r.y = r.sums + 2 * net->widest;
    r.messages = r.y + net->widest;
    r.nothing = r.messages + net->widest;
    r.sent = (events *)(r.nothing + net->widest);
    r.sends = (uint64_t *)(r.sent + most * net->populations);
    r.into = (const wire **)(r.sends + most * net->words);
    r.found = (delivery *)(r.into + net->wires);
    r.starts = (int32_t *)(r.found + net->wires);
    r.arrives = (arrivals *)(r.starts + net->populations + 1);
    sort_wires(&r);
    for (int64_t lane = 0; lane < lanes; lane += EVENT_LANES) {
        r.lanes = lanes - lane < EVENT_LANES ? lanes - lane : EVENT_LANES;
        r.numbers = numbers + lane * net->numbers;
        r.stored = stored + lane * net->stored * net->ports;
        r.arrived = arrived + lane * net->stored * net->populations;
        here.lane = host->lane + lane;
        for (r.first = 0; r.first < steps; r.first += r.steps) {
            r.steps = steps - r.first < EVENT_STEPS ? steps - r.first : EVENT_STEPS;
            r.room = room;
            go_through(&r, counts);
        }
    }
}

#else

void run_events(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time,
    int64_t lanes, int64_t steps, const hosts *host, int64_t *counts)
{
    (void)net, (void)numbers, (void)stored, (void)arrived, (void)scratch, (void)time, (void)lanes;
    (void)steps, (void)host, (void)counts;
}

#endif
