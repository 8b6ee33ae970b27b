/* Which version of the kernels is compiled: exactly one of the macros below is 1. */
#ifndef NMBRL_TARGET_H
#define NMBRL_TARGET_H

#if defined(NMBRL_PORTABLE)
#define NMBRL_USE_PORTABLE 1
#elif defined(__AVX2__)
#define NMBRL_USE_AVX2 1
#elif defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define NMBRL_USE_MVE 1
#elif defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
#define NMBRL_USE_DSP 1
#else
#define NMBRL_USE_PORTABLE 1
#endif

#ifndef NMBRL_USE_PORTABLE
#define NMBRL_USE_PORTABLE 0
#endif
#ifndef NMBRL_USE_AVX2
#define NMBRL_USE_AVX2 0
#endif
#ifndef NMBRL_USE_MVE
#define NMBRL_USE_MVE 0
#endif
#ifndef NMBRL_USE_DSP
#define NMBRL_USE_DSP 0
#endif

/* Look-ups among 128 bytes: beside AVX2, where there are any. */
#if NMBRL_USE_AVX2 && defined(__AVX512VBMI__) && defined(__AVX512BW__)
#define NMBRL_USE_AVX512_BYTES 1
#else
#define NMBRL_USE_AVX512_BYTES 0
#endif

/* Sums of four products of bytes, likewise. */
#if NMBRL_USE_AVX2 && defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define NMBRL_USE_VNNI 1
#else
#define NMBRL_USE_VNNI 0
#endif

#endif
