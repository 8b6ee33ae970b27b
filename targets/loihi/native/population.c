/* Neurons: from accumulators to messages. Built with -fwrapv: integers wrap, as NumPy's do. */
#include "loihi.h"

static void activate(const population *p, const int32_t *accumulators, int32_t stride, const int32_t *value,
    int32_t *restrict y)
{
    int32_t size = p->size;
    const int32_t *a = accumulators, *b = accumulators + stride, *bias = p->bias[0];
    switch (p->kind) {
    case INPUT:
        for (int32_t i = 0; i < size; i++)
            y[i] = value[i];
        break;
    case SIGMA_DELTA: {
        int32_t floor = p->relu ? 0 : INT32_MIN;
        for (int32_t i = 0; i < size; i++) {
            int32_t sum = a[i] + bias[i];
            y[i] = sum < floor ? floor : sum;
        }
        break;
    }
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
        const int32_t *other = p->bias[1];
        int32_t first = p->operand_shift[0], second = p->operand_shift[1], exponent = p->exponent;
        for (int32_t i = 0; i < size; i++)
            y[i] = (((a[i] + bias[i]) >> first) * ((b[i] + other[i]) >> second)) >> exponent;
        break;
    }
    }
}

/* The rule of targets/loihi/network.py. */
static void send(const population *p, const int32_t *y, int32_t *restrict sent, int32_t *restrict messages)
{
    int32_t shift = p->shift, threshold = p->threshold;
    if (!threshold) {
        for (int32_t i = 0; i < p->size; i++) {
            messages[i] = (y[i] >> shift) - sent[i];
            sent[i] += messages[i];
        }
        return;
    }
    for (int32_t i = 0; i < p->size; i++) {
        int32_t change = y[i] - (sent[i] << shift);
        int32_t size = change < 0 ? -change : change;
        messages[i] = size < threshold ? 0 : change >> shift;
        sent[i] += messages[i];
    }
}

void update_population(const population *p, int32_t *lane, const network *net, int32_t *y, int32_t *messages)
{
    int32_t *sent = lane + net->accumulators + p->neuron;
    activate(p, lane + p->accumulator, padded(p->size), sent + net->neurons, y);
    send(p, y, sent, messages);
}
