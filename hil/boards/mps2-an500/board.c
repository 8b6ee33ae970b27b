/* Arm MPS2 board, FPGA image AN500 (Arm DAI 0500): Cortex-M7; the rest is in cmsdk/mps2.c. */
#include "hal.h"

const char nmbrl_hal_name[] = "mps2-an500";
