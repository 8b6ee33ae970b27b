/* Feeds the firmware on this machine with frames that are random, mutated, truncated, oversized, or valid with a random body, under
 * the sanitizers. Usage: fuzz COUNT SEED. Ends with status 0, or as the sanitizer says.
 *
 * - Whatever came before, a PING is answered: no input silences the board.
 * - A valid frame has one answer: its reply, or an error with a reason.
 * - Every piece between two zero bytes is counted, as a good frame or with the reason why it is none.
 *
 * Prints how many there were of each, as "NAME COUNT" lines.
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

/* Where the board said it stands, so that some requests are in step with it. */
static uint8_t position[8];

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
    case NMBRL_SET_PLANNER: {
        const uint16_t samples = (uint16_t)(4 + below(12));
        const uint16_t sizes[] = {samples, (uint16_t)(1 + below(8)), (uint16_t)(1 + below(3)),
                                  (uint16_t)(1 + below(samples)), (uint16_t)(1 + below(samples - 2u))};
        const float reals[] = {0.5f, 0.5f, 0.05f, 0.5f, 0.0f};
        body[0] = (uint8_t)below(4);
        memcpy(body + 1, sizes, sizeof sizes);
        memcpy(body + 11, reals, sizeof reals);
        if (below(4) == 0) {
            body[below(11)] = (uint8_t)draw();
            put_real(body + 11 + 4 * below(5));
        }
        return 31;
    }
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
static size_t draw_frame(uint8_t *wire, uint8_t *drawn_kind, uint16_t *sequence) {
    uint8_t body[NMBRL_MAX_BODY];
    size_t length = draw_length();
    fill(body, length);
    uint8_t kind = (uint8_t)draw();
    if (below(2)) {
        kind = (uint8_t)(1 + below(NMBRL_REBOOT));
        for (size_t i = 0; i < 8; i++) {
            body[i] = (uint8_t)(i % 4 ? 0 : below(4));
        }
        if (below(4)) {
            memcpy(body, position, sizeof position);
        }
#ifdef NMBRL_WITH_MODEL
        length = below(4) ? draw_plausible(kind, body) : length;
#endif
    }
    *drawn_kind = kind;
    *sequence = (uint16_t)draw();
    return nmbrl_frame_encode(kind, *sequence, body, length, wire);
}

static void expect(int condition, const char *what, unsigned long count) {
    if (!condition) {
        fprintf(stderr, "%s after %lu frames\n", what, count);
        exit(1);
    }
}

static unsigned long pieces;                      /* nonempty, between zero bytes */
static unsigned long refused[NMBRL_NO_PLANNER + 1]; /* valid frames, by reason */
static unsigned long accepted[NMBRL_REBOOT + 1];    /* valid frames, by kind */

/* Sends bytes and counts the pieces that they complete, by no code of the firmware's. */
static size_t feed(const uint8_t *data, size_t length, uint8_t *out) {
    static int open;
    for (size_t i = 0; i < length; i++) {
        pieces += data[i] == 0 && open;
        open = data[i] != 0;
    }
    return host_exchange(data, length, out);
}

/* A valid frame was sent last: one answer carries its sequence number, and is its reply or says why there is none. */
static void check_answer(const uint8_t *out, size_t length, uint8_t kind, uint16_t sequence, unsigned long count) {
    static nmbrl_frame_decoder decoder;
    unsigned long answers = 0;
    for (size_t i = 0; i < length; i++) {
        nmbrl_frame_status status = nmbrl_frame_push(&decoder, out[i]);
        if (status == NMBRL_FRAME_NONE) {
            continue;
        }
        expect(status == NMBRL_FRAME_GOOD, "a damaged answer", count);
        if (decoder.sequence != sequence) {
            continue;
        }
        answers++;
        if (decoder.kind == NMBRL_ERROR) {
            uint8_t reason = decoder.body_length >= 2 ? decoder.body[0] : 0;
            expect(reason >= NMBRL_UNKNOWN_KIND && reason <= NMBRL_NO_PLANNER, "an error without a reason", count);
            expect(decoder.body[1] == kind, "an error about another request", count);
            refused[reason]++;
            if (reason == NMBRL_OUT_OF_STEP) {
                memcpy(position, decoder.body + 2, sizeof position);
            }
        } else {
            expect(decoder.kind == (kind | NMBRL_REPLY), "a reply to another request", count);
            expect(kind <= NMBRL_REBOOT, "an unknown kind was accepted", count);
            accepted[kind]++;
            if (kind >= NMBRL_RESET && kind <= NMBRL_WRITE_STATE) {
                memcpy(position, decoder.body, sizeof position);
            }
        }
    }
    expect(answers == 1, "not one answer to a valid frame", count);
}

static uint32_t statistic(const uint8_t *body, size_t index) {
    const uint8_t *at = body + 4 * index;
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Prints what the board counted, and holds it against what was sent. */
static void account(uint8_t *wire, uint8_t *out, unsigned long count) {
    static const char *const names[] = {"good", "truncated", "short", "long", "bad_crc", "refused"};
    static nmbrl_frame_decoder decoder;
    uint32_t total = 0;
    size_t length = feed(wire, nmbrl_frame_encode(NMBRL_STATISTICS, 78, NULL, 0, wire), out);
    for (size_t i = 0; i < length; i++) {
        if (nmbrl_frame_push(&decoder, out[i]) == NMBRL_FRAME_GOOD && decoder.sequence == 78) {
            for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
                printf("%s %lu\n", names[k], (unsigned long)statistic(decoder.body, k));
                total += k < 5 ? statistic(decoder.body, k) : 0;
            }
        }
    }
    printf("pieces %lu\n", pieces);
    expect(total == pieces, "frames that were not counted", count);
    for (size_t reason = NMBRL_UNKNOWN_KIND; reason <= NMBRL_NO_PLANNER; reason++) {
        printf("refused_%lu %lu\n", (unsigned long)reason, refused[reason]);
    }
    for (size_t kind = NMBRL_HELLO; kind <= NMBRL_REBOOT; kind++) {
        printf("accepted_%lu %lu\n", (unsigned long)kind, accepted[kind]);
    }
}

static int answers_ping(uint8_t *wire, uint8_t *out) {
    static const uint8_t body[] = "still there?";
    static nmbrl_frame_decoder decoder;
    size_t length = feed(wire, nmbrl_frame_encode(NMBRL_PING, 77, body, sizeof body, wire), out);
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
        uint8_t kind;
        uint16_t sequence;
        uint32_t sort = below(5);
        switch (sort) {
        case 0: /* random */
            length = below(300);
            fill(wire, length);
            break;
        case 1: /* mutated */
            length = draw_frame(wire, &kind, &sequence);
            for (uint32_t flips = 1 + below(8); flips > 0; flips--) {
                wire[below((uint32_t)length)] ^= (uint8_t)(1u << below(8));
            }
            break;
        case 2: /* truncated */
            length = below((uint32_t)draw_frame(wire, &kind, &sequence));
            break;
        case 3: /* oversized: no zero byte for longer than the longest frame */
            length = 2 * NMBRL_MAX_ENCODED - 1;
            for (size_t i = 0; i < length; i++) {
                wire[i] = (uint8_t)(1 + below(255));
            }
            length -= below(NMBRL_MAX_ENCODED);
            break;
        default: /* valid */
            length = draw_frame(wire, &kind, &sequence);
        }
        size_t answered = feed(wire, length, out);
        if (sort == 4) {
            check_answer(out, answered, kind, sequence, done);
        }
        if (done % 16 == 0 || done == frames) {
            expect(answers_ping(wire, out), "no answer to a ping", done);
        }
    }
    printf("frames %lu\n", frames);
    account(wire, out, frames);
    free(out);
    free(wire);
    return 0;
}
