// The dense prompt maps of the bundled network at stride 4, in nested order. samgeo/models/compiled/dense_maps.py describes the
// arguments, which are C-contiguous, and checks them.
#include "vectors.h"

#include <cmath>
#include <cstring>

// Maps of the distance to the nearest of a prompt's points that have a label: e^(spot_factor d^2) and e^(decay_factor d).
extern "C" void click_maps(int64_t prompts, int64_t points, int64_t pixels, const float *x, const float *y, const float *xy, const int64_t *labels,
                           int64_t label, float spot_factor, float decay_factor, float *spot, float *decay) {
  for (int64_t prompt = 0; prompt < prompts; prompt++)
    for (int64_t pixel = 0; pixel < pixels; pixel += 8) {
      floats nearest = all(INFINITY);
      for (int64_t point = prompt * points; point < (prompt + 1) * points; point++)
        if (labels[point] == label) {
          const floats right = load(x + pixel) - all(xy[2 * point]), down = load(y + pixel) - all(xy[2 * point + 1]);
          nearest = smaller(nearest, right * right + down * down);
        }
      store(spot + prompt * pixels + pixel, exponential(nearest * all(spot_factor)));
      store(decay + prompt * pixels + pixel, exponential(floats(_mm256_sqrt_ps(nearest)) * all(decay_factor)));
    }
}

namespace {

constexpr int MOST_PIXELS = 128;  // of a side at stride 4

// Interpolate a row or a column bilinearly to FACTOR times as many values, with the centres of pixels as torch places them:
// value i of the finer ones lies between a coarse value and its neighbour before or after.
template <int FACTOR>
struct Between {
  int one, other;
  float share;  // of the other

  Between(int fine, int side) {
    const float offset = (fine % FACTOR + 0.5f) / FACTOR - 0.5f;
    one = fine / FACTOR;
    other = offset < 0 ? (one > 0 ? one - 1 : one) : (one < side - 1 ? one + 1 : one);
    share = std::fabs(offset);
  }
};

template <int FACTOR>
void enlarge(int64_t prompts, int side, const float *rows, float *nested) {
  const int finer = side * FACTOR;
  float wide[MOST_PIXELS / FACTOR * MOST_PIXELS], row[MOST_PIXELS];
  for (int64_t prompt = 0; prompt < prompts; prompt++) {
    const float *own = rows + prompt * side * side;
    for (int x = 0; x < finer; x++) {
      const Between<FACTOR> at(x, side);
      for (int y = 0; y < side; y++) wide[y * finer + x] = own[y * side + at.one] + (own[y * side + at.other] - own[y * side + at.one]) * at.share;
    }
    for (int y = 0; y < finer; y++) {
      const Between<FACTOR> at(y, side);
      const float *one = wide + at.one * finer, *other = wide + at.other * finer;
      for (int x = 0; x < finer; x++) row[x] = one[x] + (other[x] - one[x]) * at.share;
      // In nested order 16 pixels are a cell of stride 16, in four cells of stride 8; two pixels of a row lie side by side.
      float *to = nested + prompt * finer * finer + (y / 4) * 4 * finer + (y / 2 % 2) * 8 + (y % 2) * 2;
      for (int x = 0; x < finer; x += 4) {
        memcpy(to + x * 4, row + x, 2 * sizeof(float));
        memcpy(to + x * 4 + 4, row + x + 2, 2 * sizeof(float));
      }
    }
  }
}

}  // namespace

extern "C" void enlarge_nested(int64_t prompts, int64_t side, int64_t factor, const float *rows, float *nested) {
  if (factor == 2)
    enlarge<2>(prompts, side, rows, nested);
  else
    enlarge<4>(prompts, side, rows, nested);
}
