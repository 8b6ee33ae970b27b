/* A serial port that a board's HAL stands on: cmsdk/uart.c, or semihosting/port.c under an emulator. */
#ifndef NMBRL_PORT_H
#define NMBRL_PORT_H

#include <stddef.h>
#include <stdint.h>

/* Starts the port at base with that divider of its clock; the board's vector table calls nmbrl_port_interrupt. */
void nmbrl_port_init(uint32_t base, uint32_t divider, unsigned interrupt);
void nmbrl_port_interrupt(void);

/* As nmbrl_hal_read and nmbrl_hal_write. */
size_t nmbrl_port_read(uint8_t *data, size_t size);
void nmbrl_port_write(const uint8_t *data, size_t length);

#endif
