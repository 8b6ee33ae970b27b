/* The message loop: bytes in, frames checked, requests answered. */
#ifndef NMBRL_LOOP_H
#define NMBRL_LOOP_H

#include <stdint.h>

/* Says READY to the host. */
void nmbrl_loop_start(void);

/* Takes the next byte from the host and, when it completes a request, answers it. */
void nmbrl_loop_byte(uint8_t byte);

#endif
