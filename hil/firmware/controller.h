/* What answers the messages that concern the model: controller.c, or no_model.c while a board is being brought up. */
#ifndef NMBRL_CONTROLLER_H
#define NMBRL_CONTROLLER_H

#include "messages.h"

/* Puts what identifies the model into the answer to HELLO: sizes, limits, hash. */
void nmbrl_controller_identify(nmbrl_writer *reply);

/* Puts the controller's part of the statistics. */
void nmbrl_controller_statistics(nmbrl_writer *reply);

/* Answers a request; when it is refused, `reply` is what an error carries beside its reason. */
nmbrl_refusal nmbrl_controller_handle(uint8_t kind, nmbrl_reader *request, nmbrl_writer *reply);

#endif
