// Depthwise convolution and layer norm of four pixels at once. A pixel is CHANNELS numbers that lie side by side.
#pragma once

#include "vectors.h"

constexpr int FOUR = 4;

// Lay the weight of a depthwise convolution out by taps: KERNEL x KERNEL x CHANNELS.
template <int KERNEL, int CHANNELS>
INLINE void pack_taps(const float *weight, float *taps) {
  for (int channel = 0; channel < CHANNELS; channel++)
    for (int tap = 0; tap < KERNEL * KERNEL; tap++) taps[tap * CHANNELS + channel] = weight[channel * KERNEL * KERNEL + tap];
}

// Convolve the four pixels from `first` on; `rows` begin with a margin of KERNEL / 2 pixels. Return the sums of their channels too.
template <int KERNEL, int CHANNELS>
INLINE void convolve(const float *const *rows, int first, const float *taps, const float *bias, float *to, floats (&sums)[FOUR]) {
  UNROLL for (int i = 0; i < FOUR; i++) sums[i] = all(0.0f);
  for (int channel = 0; channel < CHANNELS; channel += 8) {
    floats value[FOUR];
    UNROLL for (int i = 0; i < FOUR; i++) value[i] = load(bias + channel);
    UNROLL for (int dy = 0; dy < KERNEL; dy++) {
      const float *from = rows[dy] + first * CHANNELS + channel;
      floats factor[KERNEL];
      UNROLL for (int dx = 0; dx < KERNEL; dx++) factor[dx] = load(taps + (KERNEL * dy + dx) * CHANNELS + channel);
      UNROLL for (int dx = 0; dx < KERNEL; dx++)
        UNROLL for (int i = 0; i < FOUR; i++) value[i] += factor[dx] * load(from + (i + dx) * CHANNELS);
    }
    UNROLL for (int i = 0; i < FOUR; i++) {
      store(to + i * CHANNELS + channel, value[i]);
      sums[i] += value[i];
    }
  }
}

// Normalize four pixels, one after the other in memory, of which the sums of the channels are known. Call done(pixel, channel,
// eight numbers) for the results.
template <int CHANNELS, class Done>
INLINE void normalize(const float *pixels, const floats (&sums)[FOUR], const float *scale, const float *shift, float epsilon, Done done) {
  const floats means = sums_of(sums) * all(1.0f / CHANNELS);
  floats mean[FOUR], squares[FOUR], factor[FOUR];
  UNROLL for (int i = 0; i < FOUR; i++) {
    mean[i] = all(means[i]);
    floats even = all(0.0f), odd = all(0.0f);  // two sums, which do not wait for each other
    UNROLL for (int channel = 0; channel < CHANNELS; channel += 16) {
      const floats one = load(pixels + i * CHANNELS + channel) - mean[i], other = load(pixels + i * CHANNELS + channel + 8) - mean[i];
      even += one * one;
      odd += other * other;
    }
    squares[i] = even + odd;
  }
  const floats factors = all(1.0f) / (floats)_mm256_sqrt_ps(sums_of(squares) * all(1.0f / CHANNELS) + all(epsilon));
  UNROLL for (int i = 0; i < FOUR; i++) factor[i] = all(factors[i]);
  for (int channel = 0; channel < CHANNELS; channel += 8)
    UNROLL for (int i = 0; i < FOUR; i++)
      done(i, channel, (load(pixels + i * CHANNELS + channel) - mean[i]) * factor[i] * load(scale + channel) + load(shift + channel));
}
