/* Stands in for controller.c while a board is being brought up: the wire works, there is nothing to run. */
#include "controller.h"

void nmbrl_controller_identify(nmbrl_writer *reply) {
    (void)reply;
}

void nmbrl_controller_statistics(nmbrl_writer *reply) {
    (void)reply;
}

nmbrl_refusal nmbrl_controller_handle(uint8_t kind, nmbrl_reader *request, nmbrl_writer *reply) {
    (void)request;
    (void)reply;
    return kind >= NMBRL_RESET && kind <= NMBRL_CALL ? NMBRL_NO_MODEL : NMBRL_UNKNOWN_KIND;
}
