/* What a board must bring (docs/add-a-board.md): five functions and two constants, one implementation a board. */
#ifndef NMBRL_HAL_H
#define NMBRL_HAL_H

#include <stddef.h>
#include <stdint.h>

/* How the board calls itself; the host shows it. At most 31 characters. */
extern const char nmbrl_hal_name[];

/* Ticks a second of nmbrl_hal_ticks(). */
extern const uint32_t nmbrl_hal_tick_hz;

/* Clocks, serial port and tick counter; called once, first. */
void nmbrl_hal_init(void);

/* Sleeps until the host has sent something, then takes up to size bytes of it; returns how many (at least 1).
 * Bytes that arrive between calls must be kept: the longest frame (NMBRL_MAX_ENCODED), at the port's full speed. */
size_t nmbrl_hal_read(uint8_t *data, size_t size);

/* Hands all bytes to the serial port; may wait until it has taken them. */
void nmbrl_hal_write(const uint8_t *data, size_t length);

/* A counter that never stops and wraps at 2^32: processor cycles, or a fixed clock. */
uint32_t nmbrl_hal_ticks(void);

/* Restarts the board as at power-on; does not return. */
void nmbrl_hal_reset(void);

#endif
