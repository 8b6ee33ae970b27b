/* Arm MPS2 board, FPGA image AN386 (Arm DAI 0386): Cortex-M4; the rest is in cmsdk/mps2.c. */
#include "hal.h"

const char nmbrl_hal_name[] = "mps2-an386";
