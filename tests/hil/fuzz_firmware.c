/* Feeds the firmware on this machine with frames that are random, mutated, truncated, oversized, or valid with a random body, under
 * the sanitizers. Usage: fuzz COUNT SEED. Ends with status 0, or as the sanitizer says.
 *
 * Whatever came before, a PING must be answered: no input silences the board.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "loop.h"
#include "messages.h"

size_t host_exchange(const uint8_t *data, size_t length, uint8_t *out);

static uint64_t random_state;

/* xorshift64* (Vigna, 2016) */
static uint32_t draw(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545F4914F6CDD1Dull) >> 32);
}

static uint32_t below(uint32_t bound) {
    return draw() % bound;
}

static void fill(uint8_t *data, size_t length) {
    for (size_t i = 0; i < length; i++) {
        data[i] = (uint8_t)draw();
    }
}

/* Sizes that are likely to matter, and others. */
static size_t draw_length(void) {
    switch (below(8)) {
    case 0:
        return below(NMBRL_MAX_BODY + 1);
    case 1:
        return 0;
    case 2:
        return NMBRL_MAX_BODY;
    default:
        return below(64);
    }
}

#ifdef NMBRL_WITH_MODEL
#include "nmbrl.h"

static void put_real(uint8_t *to) {
    float real = (float)((int)below(2001) - 1000) / 500.0f;
    memcpy(to, &real, sizeof real);
}

/* Makes a body that a request of this kind may well have, so that what is behind the checks of lengths is reached. */
static size_t draw_plausible(uint8_t kind, uint8_t *body) {
    static const uint16_t inputs[] = {NMBRL_STATE_SIZE + NMBRL_ACTION_SIZE + NMBRL_OBSERVATION_SIZE,
                                      NMBRL_STATE_SIZE + NMBRL_ACTION_SIZE, NMBRL_STATE_SIZE, NMBRL_STATE_SIZE};
    size_t length = 0;
    switch (kind) {
    case NMBRL_RESET:
        return 12;
    case NMBRL_PLAN:
        return 8;
    case NMBRL_OBSERVE:
    case NMBRL_DECIDE:
        length = 8 + 4 * (NMBRL_ACTION_SIZE + NMBRL_OBSERVATION_SIZE);
        for (size_t i = 8; i < length; i += 4) {
            put_real(body + i);
        }
        return length;
    case NMBRL_WRITE_STATE:
        length = 26 + 4 * NMBRL_ACTION_SIZE + NMBRL_STATE_SIZE + sizeof(nmbrl_plan_row) * NMBRL_MAX_HORIZON;
        memset(body + 8, (int)below(2), length - 8);
        return length;
    case NMBRL_SET_PLANNER:
        body[0] = (uint8_t)below(5);
        for (size_t i = 1; i < 11; i += 2) {
            body[i] = (uint8_t)(1 + below(12));
            body[i + 1] = 0;
        }
        for (size_t i = 11; i < 31; i += 4) {
            put_real(body + i);
        }
        return 31;
    case NMBRL_CALL:
        body[0] = (uint8_t)below(5);
        body[1] = (uint8_t)below(30);
        length = 2u + (size_t)body[1] * inputs[body[0] % 4];
        return length <= NMBRL_MAX_BODY ? length : 2;
    default:
        return 0;
    }
}
#endif

/* A valid frame; half of the time with a kind that the firmware knows, small numbers in front. */
static size_t draw_frame(uint8_t *wire) {
    uint8_t body[NMBRL_MAX_BODY];
    size_t length = draw_length();
    fill(body, length);
    uint8_t kind = (uint8_t)draw();
    if (below(2)) {
        kind = (uint8_t)(1 + below(NMBRL_REBOOT));
        for (size_t i = 0; i < 8; i++) {
            body[i] = (uint8_t)(i % 4 ? 0 : below(4));
        }
#ifdef NMBRL_WITH_MODEL
        length = below(4) ? draw_plausible(kind, body) : length;
#endif
    }
    return nmbrl_frame_encode(kind, (uint16_t)draw(), body, length, wire);
}

static void expect(int condition, const char *what, unsigned long count) {
    if (!condition) {
        fprintf(stderr, "%s after %lu frames\n", what, count);
        exit(1);
    }
}

static int answers_ping(uint8_t *wire, uint8_t *out) {
    static const uint8_t body[] = "still there?";
    static nmbrl_frame_decoder decoder;
    size_t length = host_exchange(wire, nmbrl_frame_encode(NMBRL_PING, 77, body, sizeof body, wire), out);
    int answered = 0;
    for (size_t i = 0; i < length; i++) {
        answered |= nmbrl_frame_push(&decoder, out[i]) == NMBRL_FRAME_GOOD && decoder.sequence == 77 &&
                    decoder.kind == (NMBRL_PING | NMBRL_REPLY) && decoder.body_length == sizeof body &&
                    memcmp(decoder.body, body, sizeof body) == 0;
    }
    return answered;
}

int main(int count, char **arguments) {
    if (count != 3) {
        return 2;
    }
    unsigned long frames = strtoul(arguments[1], NULL, 10);
    random_state = strtoull(arguments[2], NULL, 10) + 1;
    /* On the heap and as long as what it holds, so that the sanitizer sees every byte too far. */
    uint8_t *out = malloc(1u << 16);
    uint8_t *wire = malloc(2 * NMBRL_MAX_ENCODED);
    nmbrl_loop_start();
    for (unsigned long done = 1; done <= frames; done++) {
        size_t length;
        switch (below(5)) {
        case 0: /* random */
            length = below(300);
            fill(wire, length);
            break;
        case 1: /* mutated */
            length = draw_frame(wire);
            for (uint32_t flips = 1 + below(8); flips > 0; flips--) {
                wire[below((uint32_t)length)] ^= (uint8_t)(1u << below(8));
            }
            break;
        case 2: /* truncated */
            length = below((uint32_t)draw_frame(wire));
            break;
        case 3: /* oversized: no zero byte for longer than the longest frame */
            length = 2 * NMBRL_MAX_ENCODED - 1;
            for (size_t i = 0; i < length; i++) {
                wire[i] = (uint8_t)(1 + below(255));
            }
            length -= below(NMBRL_MAX_ENCODED);
            break;
        default: /* valid */
            length = draw_frame(wire);
        }
        expect(host_exchange(wire, length, out) <= 1u << 16, "an answer too long", done);
        if (done % 16 == 0 || done == frames) {
            expect(answers_ping(wire, out), "no answer to a ping", done);
        }
    }
    printf("%lu frames\n", frames);
    free(out);
    free(wire);
    return 0;
}
