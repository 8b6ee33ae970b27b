/* Random numbers that are a function of a seed and a counter: Philox4x32-10 (Salmon et al., 2011). */
#ifndef NMBRL_RANDOM_H
#define NMBRL_RANDOM_H

#include <stdint.h>

/* Writes the four words that belong to a seed and a counter. */
void nmbrl_philox(uint64_t seed, const uint32_t counter[4], uint32_t out[4]);

/* Uniform in [-1, 1]. */
float nmbrl_uniform(uint32_t word);

/* Standard normal, by the inverse of its distribution function: linear between 8 points an octave of the tail
 * probability, error below 0.001 up to 5.9 standard deviations, where it ends. */
float nmbrl_normal(uint32_t word);

/* Standard Gumbel: -log(-log(uniform)). */
float nmbrl_gumbel(uint32_t word);

#endif
