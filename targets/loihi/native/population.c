/* A step of a population in a lane: the equations of targets/loihi/graded.py, spiking.py and lava_kinds.py. */
#include <stddef.h>
#include <string.h>

#include "leaky.h"
#include "loihi.h"

/* The activation y from the accumulators, after which `sent` and what is given follow. */
static void activate(const population *p, const int32_t *restrict state, int32_t *restrict y)
{
    int32_t size = padded(p->size);
    const int32_t *a = state, *b = state + size, *bias = p->parameter[1];
    switch (p->kind) {
    case INPUT:
        for (int32_t i = 0; i < size; i++)
            y[i] = b[i];
        break;
    case TABLE: {
        int32_t exponent = p->exponent, width = p->segments << exponent;
        int32_t mask = (1 << exponent) - 1, half = 1 << (exponent - 1);
        const int32_t *values = p->values;
        for (int32_t i = 0; i < size; i++) {
            int32_t u = a[i] + (bias[i] + (width >> 1));
            u = u < 0 ? 0 : u > width - 1 ? width - 1 : u;
            int32_t left = values[u >> exponent], right = values[(u >> exponent) + 1];
            y[i] = left + (((right - left) * (u & mask) + half) >> exponent);
        }
        break;
    }
    case PRODUCT: {
        const int32_t *other = p->parameter[2];
        int32_t first = p->operand_shift[0], second = p->operand_shift[1], exponent = p->exponent;
        for (int32_t i = 0; i < size; i++)
            y[i] = (((a[i] + bias[i]) >> first) * ((b[i] + other[i]) >> second)) >> exponent;
        break;
    }
    }
}

/* The rule without drift; what is sent is the difference behind the shift, where it cannot overflow. */
static void send(const population *p, const int32_t *restrict y, int32_t *restrict sent, int32_t *restrict messages)
{
    int32_t shift = p->shift;
    const int32_t *threshold = p->parameter[0];
    for (int32_t i = 0; i < p->size; i++) {
        int32_t change = y[i] - (sent[i] << shift), message = (y[i] >> shift) - sent[i];
        int32_t size = change < 0 ? -change : change;
        messages[i] = size < threshold[i] ? 0 : message;
        sent[i] += messages[i];
    }
}

/* The same of sigma-delta neurons in one go; y where it is `checked`. */
static void sigma_delta(
    const population *p, int32_t *restrict state, const int32_t *restrict arriving, int checked, int32_t *restrict y,
    int32_t *restrict messages)
{
    int32_t size = padded(p->size), shift = p->shift, floor = p->relu ? 0 : INT32_MIN;
    int32_t *restrict sent = state + size;
    const int32_t *threshold = p->parameter[0], *bias = p->parameter[1];
    for (int32_t i = 0; i < size; i++) {
        int32_t sum = state[i] + arriving[i], active = sum + bias[i] < floor ? floor : sum + bias[i];
        int32_t change = active - (sent[i] << shift), message = (active >> shift) - sent[i];
        int32_t magnitude = change < 0 ? -change : change;
        message = magnitude < threshold[i] ? 0 : message;
        if (checked)
            y[i] = active;
        state[i] = sum;
        sent[i] += message;
        messages[i] = message;
    }
}

static void graded(const population *p, int32_t *restrict state, const int32_t *arriving, int32_t *y, int32_t *messages)
{
    int32_t numbers = p->ports * padded(p->size);
    for (int32_t i = 0; i < numbers; i++)
        state[i] += arriving[i];
    activate(p, state, y);
    send(p, y, state + numbers, messages);
}

/* Parameters: du + 1, dv, bias_mant, bias_exp, thresholds in units of v, the lower one INT32_MIN where there is none; the
   bias where nothing was ever given; and as floats what du and dv keep. */
static void leaky(
    const population *p, int32_t *restrict state, const int32_t *restrict arriving, int64_t time,
    int32_t *restrict messages)
{
    int32_t size = padded(p->size);
    int32_t *u = state, *v = state + size;
    const int32_t *given = p->takes ? state + 2 * size : NULL;
    if (p->reset_interval && (time + 1 - p->reset_offset) % p->reset_interval == 0)
        for (int32_t i = 0; i < 2 * size; i++)
            state[i] = 0;
#if defined(__AVX512BW__)
    const int32_t *parameter[9];
    memcpy(parameter, p->parameter, sizeof parameter);
    for (int32_t i = 0; i < size; i += BLOCK) {
        __m512i arrived = _mm512_loadu_si512(arriving + i);
        __mmask16 below;
        __mmask16 sends = step_leaky(
            parameter, i, 0, u + i, v + i, given ? given + i : NULL, arrived, p->ternary, &below);
        __m512i spikes = _mm512_maskz_set1_epi32(sends, 1);
        _mm512_storeu_si512(messages + i, _mm512_mask_set1_epi32(spikes, below, -1));
    }
#else
    const int32_t half = 1 << 23, *du = p->parameter[0], *dv = p->parameter[1], *mantissa = p->parameter[2];
    const int32_t *exponent = p->parameter[3], *high = p->parameter[4], *low = p->parameter[5];
    for (int32_t i = 0; i < size; i++) {
        int32_t current = decayed(u[i], du[i]) + (arriving[i] << 6);
        current = current > half ? current - 2 * half : current <= -half ? current + 2 * half : current;
        int32_t bias = given ? (mantissa[i] + given[i]) << exponent[i] : p->parameter[6][i];
        int32_t potential = decayed(v[i], dv[i]) + (current + bias);
        potential = potential < 1 - half ? 1 - half : potential > half - 1 ? half - 1 : potential;
        int32_t spike = (potential > high[i]) - (potential < low[i]);
        u[i] = current;
        v[i] = spike ? 0 : potential;
        messages[i] = spike;
    }
#endif
}

/* Lava's delta coding of `act`, with the variables act, residue, error. */
static void encode(const population *p, int32_t act, int32_t *state, int32_t i, int32_t *messages)
{
    int32_t size = padded(p->size), *last = state + i, *residue = last + size, *error = residue + size;
    int32_t delta = act - *last + *residue;
    if (p->cum_error)
        *error += delta;
    int32_t judged = p->cum_error ? *error : delta;
    int32_t magnitude = judged < 0 ? -judged : judged, sent = magnitude >= p->parameter[0][i] ? delta : 0;
    if (sent)
        *error = 0;
    *last = act;
    *residue = delta - sent;
    messages[i] = sent >> p->shift;
}

void update_population(
    const population *p, int32_t *state, const int32_t *arriving, int64_t time, int checked, int32_t *y, int32_t *messages)
{
    int32_t size = padded(p->size);
    switch (p->kind) {
    case LIF:
        leaky(p, state, arriving, time, messages);
        break;
    case SIGMA_DELTA:
        sigma_delta(p, state, arriving, checked, y, messages);
        break;
    case DELTA:
        for (int32_t i = 0; i < p->size; i++)
            encode(p, arriving[i] << p->exponent, state, i, messages);
        break;
    case SIGMA:
        for (int32_t i = 0; i < p->size; i++)
            messages[i] = state[i] += arriving[i];
        break;
    case LAVA_SIGMA_DELTA:
        for (int32_t i = 0; i < p->size; i++) {
            int32_t act = (state[i] += arriving[i]) + p->parameter[1][i];
            encode(p, p->relu && act < 0 ? 0 : act, state + size, i, messages);
        }
        break;
    case PROD_NEURON:
        for (int32_t i = 0; i < p->size; i++) {
            int32_t product = (arriving[i] * arriving[size + i]) >> p->exponent;
            int32_t magnitude = product < 0 ? -product : product;
            messages[i] = magnitude > p->parameter[0][i] ? product : 0;
        }
        break;
    default:
        graded(p, state, arriving, y, messages);
    }
}
