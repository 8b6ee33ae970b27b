/* An emulated board's serial port as two FIFOs of the host, through semihosting (Arm "Semihosting for AArch32 and
 * AArch64"): a whole frame is one call of the emulator instead of an interrupt a byte. Takes the place of the UART's
 * driver. The command line that the emulator hands over is the FIFOs' folder.
 */
#include "port.h"

#include <string.h>

#define SYS_OPEN 0x01u
#define SYS_WRITE 0x05u
#define SYS_READ 0x06u
#define SYS_GET_CMDLINE 0x15u
#define SYS_EXIT 0x18u
#define APPLICATION_EXIT 0x20026u
#define MODE_READ 1u  /* "rb" */
#define MODE_WRITE 5u /* "wb" */
#define MAX_PATH 128u

static uintptr_t from_host, to_host;

static uintptr_t call(uintptr_t operation, void *parameters) {
    register uintptr_t r0 __asm("r0") = operation;
    register void *r1 __asm("r1") = parameters;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uintptr_t open_fifo(const char *folder, size_t length, const char *name, uintptr_t mode) {
    char path[MAX_PATH + 8];
    memcpy(path, folder, length);
    memcpy(path + length, name, strlen(name) + 1);
    uintptr_t parameters[3] = {(uintptr_t)path, mode, length + strlen(name)};
    return call(SYS_OPEN, parameters);
}

void nmbrl_port_init(uint32_t base, uint32_t divider, unsigned interrupt) {
    (void)base;
    (void)divider;
    (void)interrupt;
    char folder[MAX_PATH];
    uintptr_t parameters[2] = {(uintptr_t)folder, sizeof folder};
    call(SYS_GET_CMDLINE, parameters);
    from_host = open_fifo(folder, parameters[1], "/to", MODE_READ);
    to_host = open_fifo(folder, parameters[1], "/from", MODE_WRITE);
}

void nmbrl_port_interrupt(void) {
}

/* SYS_READ and SYS_WRITE return how many bytes they left undone. */
size_t nmbrl_port_read(uint8_t *data, size_t size) {
    uintptr_t parameters[3] = {from_host, (uintptr_t)data, size};
    uintptr_t left = call(SYS_READ, parameters);
    if (left >= size) {
        /* The host is gone: there is nobody to emulate for. */
        call(SYS_EXIT, (void *)APPLICATION_EXIT);
    }
    return size - left;
}

void nmbrl_port_write(const uint8_t *data, size_t length) {
    while (length > 0) {
        uintptr_t parameters[3] = {to_host, (uintptr_t)data, length};
        uintptr_t left = call(SYS_WRITE, parameters);
        if (left > length) {
            return;
        }
        data += length - left;
        length = left;
    }
}
