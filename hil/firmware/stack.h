/* How deep the stack has grown: start-up paints it, this looks for the lowest word that is not paint any more. */
#ifndef NMBRL_STACK_H
#define NMBRL_STACK_H

#include <stdint.h>

/* Bytes used at the deepest so far. */
uint32_t nmbrl_stack_used(void);

#endif
