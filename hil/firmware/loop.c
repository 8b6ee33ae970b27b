#include "loop.h"

#include "controller.h"
#include "frame.h"
#include "hal.h"
#include "stack.h"

static nmbrl_frame_decoder decoder;
static uint8_t reply_body[2 + NMBRL_MAX_BODY];
static uint8_t wire[NMBRL_MAX_ENCODED];
static uint32_t frames[NMBRL_FRAME_BAD_CRC + 1u]; /* by status; those of NMBRL_FRAME_NONE stay 0 */
static uint32_t refused;

static void send(uint8_t kind, uint16_t sequence, const nmbrl_writer *body) {
    nmbrl_hal_write(wire, nmbrl_frame_encode(kind, sequence, body->data, body->length, wire));
}

static void identify(nmbrl_writer *reply) {
    char name[32] = {0};
    for (size_t i = 0; i < sizeof name - 1 && nmbrl_hal_name[i] != 0; i++) {
        name[i] = nmbrl_hal_name[i];
    }
    nmbrl_put_u16(reply, NMBRL_WIRE_VERSION);
    nmbrl_put_u16(reply, NMBRL_MAX_BODY);
    nmbrl_put_u32(reply, nmbrl_hal_tick_hz);
    nmbrl_put(reply, name, sizeof name);
    nmbrl_controller_identify(reply);
}

static void statistics(nmbrl_writer *reply) {
    for (unsigned status = NMBRL_FRAME_GOOD; status <= NMBRL_FRAME_BAD_CRC; status++) {
        nmbrl_put_u32(reply, frames[status]);
    }
    nmbrl_put_u32(reply, refused);
    nmbrl_put_u32(reply, nmbrl_stack_used());
    nmbrl_controller_statistics(reply);
}

static nmbrl_refusal handle(uint8_t kind, nmbrl_reader *request, nmbrl_writer *reply) {
    switch (kind) {
    case NMBRL_PING:
        nmbrl_put(reply, request->data, request->length);
        return NMBRL_ACCEPTED;
    case NMBRL_HELLO:
        identify(reply);
        return nmbrl_at_end(request) ? NMBRL_ACCEPTED : NMBRL_BAD_LENGTH;
    case NMBRL_STATISTICS:
        statistics(reply);
        return nmbrl_at_end(request) ? NMBRL_ACCEPTED : NMBRL_BAD_LENGTH;
    case NMBRL_REBOOT:
        return nmbrl_at_end(request) ? NMBRL_ACCEPTED : NMBRL_BAD_LENGTH;
    default:
        return nmbrl_controller_handle(kind, request, reply);
    }
}

void nmbrl_loop_start(void) {
    nmbrl_writer body = {reply_body, 0};
    identify(&body);
    send(NMBRL_READY, 0, &body);
}

void nmbrl_loop_byte(uint8_t byte) {
    nmbrl_frame_status status = nmbrl_frame_push(&decoder, byte);
    if (status == NMBRL_FRAME_NONE) {
        return;
    }
    frames[status]++;
    /* Damage is counted, not answered: the host asks again when no answer comes. */
    if (status != NMBRL_FRAME_GOOD) {
        return;
    }
    nmbrl_reader request = {decoder.body, decoder.body_length, 0, 0};
    /* An error's body begins with the reason and the refused kind. */
    nmbrl_writer reply = {reply_body + 2, 0};
    nmbrl_refusal refusal = handle(decoder.kind, &request, &reply);
    if (refusal == NMBRL_ACCEPTED) {
        send((uint8_t)(decoder.kind | NMBRL_REPLY), decoder.sequence, &reply);
        if (decoder.kind == NMBRL_REBOOT) {
            nmbrl_hal_reset();
        }
        return;
    }
    refused++;
    reply_body[0] = (uint8_t)refusal;
    reply_body[1] = decoder.kind;
    /* Only a request out of step carries more: where the board stands. */
    nmbrl_writer error = {reply_body, refusal == NMBRL_OUT_OF_STEP ? 2 + reply.length : 2};
    send(NMBRL_ERROR, decoder.sequence, &error);
}
