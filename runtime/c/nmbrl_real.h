/* float32 functions without libm: the same operations in the same order on every target, so the same bits. */
#ifndef NMBRL_REAL_H
#define NMBRL_REAL_H

/* Square root, correctly rounded; x is finite and not negative. */
float nmbrl_sqrt(float x);

/* e^x for x <= 0; relative error below 2^-21, 0 below -87. */
float nmbrl_exp(float x);

/* Natural logarithm of a positive normal number; error below 2^-22 of 1 or of the result, whichever is larger. */
float nmbrl_log(float x);

#endif
