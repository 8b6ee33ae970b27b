/* Arm CMSDK APB UART (Arm DDI 0479, 4.3): received bytes go through an interrupt into a ring. */
#include "port.h"

#include "core.h"

#define DATA 0x00u
#define STATE 0x04u
#define CTRL 0x08u
#define INTCLEAR 0x0Cu
#define BAUDDIV 0x10u

#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define CTRL_TX_ENABLE 1u
#define CTRL_RX_ENABLE 2u
#define CTRL_RX_INTERRUPT 8u
#define INT_RX 2u

/* A power of two, above the longest frame. */
#define RING 4096u

static uint32_t port;
static uint8_t ring[RING];
static volatile uint32_t written; /* by the interrupt; both count on and wrap */
static volatile uint32_t taken;   /* by the reader */

void nmbrl_port_init(uint32_t base, uint32_t divider, unsigned interrupt) {
    port = base;
    NMBRL_REGISTER(port + BAUDDIV) = divider;
    NMBRL_REGISTER(port + CTRL) = CTRL_TX_ENABLE | CTRL_RX_ENABLE | CTRL_RX_INTERRUPT;
    nmbrl_core_enable_interrupt(interrupt);
    nmbrl_core_unmask_interrupts();
}

void nmbrl_port_interrupt(void) {
    /* Cleared first: a byte that arrives while the port is drained raises it again. */
    NMBRL_REGISTER(port + INTCLEAR) = INT_RX;
    while (NMBRL_REGISTER(port + STATE) & STATE_RX_FULL) {
        uint8_t byte = (uint8_t)NMBRL_REGISTER(port + DATA);
        /* A full ring loses the byte: the frame's CRC tells. */
        if (written - taken < RING) {
            ring[written % RING] = byte;
            written = written + 1u;
        }
    }
}

size_t nmbrl_port_read(uint8_t *data, size_t size) {
    nmbrl_core_mask_interrupts();
    while (written == taken) {
        nmbrl_core_sleep();
        nmbrl_core_unmask_interrupts();
        nmbrl_core_mask_interrupts();
    }
    nmbrl_core_unmask_interrupts();
    size_t length = 0;
    while (length < size && written != taken) {
        data[length++] = ring[taken % RING];
        taken = taken + 1u;
    }
    return length;
}

void nmbrl_port_write(const uint8_t *data, size_t length) {
    for (size_t i = 0; i < length; i++) {
        while (NMBRL_REGISTER(port + STATE) & STATE_TX_FULL) {
        }
        NMBRL_REGISTER(port + DATA) = data[i];
    }
}
