/* This machine as a board: the firmware's HAL on buffers, so that tests can run it in their own process. */
#include <string.h>

#include "hal.h"
#include "loop.h"
#include "stack.h"

const char nmbrl_hal_name[] = "host";
const uint32_t nmbrl_hal_tick_hz = 1000u;

static uint8_t sent[1u << 16];
static size_t sent_length;
static uint32_t ticks;
static int resets;

void nmbrl_hal_init(void) {
}

size_t nmbrl_hal_read(uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    return 0;
}

void nmbrl_hal_write(const uint8_t *data, size_t length) {
    if (length <= sizeof sent - sent_length) {
        memcpy(sent + sent_length, data, length);
        sent_length += length;
    }
}

uint32_t nmbrl_hal_ticks(void) {
    return ++ticks;
}

void nmbrl_hal_reset(void) {
    resets++;
}

uint32_t nmbrl_stack_used(void) {
    return 0;
}

/* Feeds bytes from the host and hands over what was sent; out has room for 65,536 bytes. */
size_t host_exchange(const uint8_t *data, size_t length, uint8_t *out) {
    for (size_t i = 0; i < length; i++) {
        nmbrl_loop_byte(data[i]);
    }
    size_t answered = sent_length;
    memcpy(out, sent, answered);
    sent_length = 0;
    return answered;
}

int host_resets(void) {
    return resets;
}
