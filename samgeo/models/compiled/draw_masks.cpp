// The drawing of masks: squares of a window of 128 channels at stride 16 are enlarged to 64 channels at stride 8 and to 32 at stride
// 4, of which each mask is a weighted sum. A square goes through all steps row by row. Between the steps there are rings of the few
// rows that the convolutions see at once, which stay in the cache of a core. samgeo/models/compiled/mask_drawing.py describes the
// arguments, which are C-contiguous, and checks them.
#include <cstring>

#include "pixels.h"
#include "prompt_maps.h"
#include "vectors.h"

namespace {

constexpr int D16 = 128, D8 = 64, D4 = 32;  // channels at strides 16, 8 and 4
constexpr int LONGEST = 32;                 // cells along a side of a square
constexpr int MASKS = 4;                    // the most masks of a square
constexpr int KERNEL8 = 5, KERNEL4 = 3;
constexpr int EDGE8 = KERNEL8 / 2, EDGE4 = KERNEL4 / 2;
constexpr int RING8 = KERNEL8 + 1, RING4 = KERNEL4 + 1;  // rows are made in pairs
constexpr int ROW8 = (2 * LONGEST + 2 * EDGE8) * D8, ROW4 = (4 * LONGEST + 2 * EDGE4) * D4;
constexpr float EPSILON = 1e-5f;  // of all layer norms

struct Linear {
  const float *weight, *bias;  // or scale and shift, or the kernel and the bias of a convolution
};

struct Residual {
  Linear depthwise, norm, mix;
};

}  // namespace

// The biases of the layers split8, split4, maps8 and maps4 are in the skips.
struct DrawingLayers {
  Linear merge8;
  const float *split8, *split4, *maps8, *maps4;
  Linear norm8, norm4;
  Residual refine8, refine4;
};

namespace {

// The layers in the order in which they are read, and what is between the steps. Rings have zeros past both ends of a row.
struct alignas(64) Workspace {
  float merge8[4 * MAPS4 * MAPS8], split8[D16 * 4 * D8], split4[D8 * 4 * D4], maps8[MAPS8 * D8], maps4[MAPS4 * D4], mix8[D8 * D8];
  float taps8[KERNEL8 * KERNEL8 * D8], taps4[KERNEL4 * KERNEL4 * D4];
  float merged4[2][LONGEST * 16 * MAPS4], merged8[LONGEST * 4 * MAPS8];
  float ring8[RING8][ROW8], ring4[RING4][ROW4], zero[ROW8 > ROW4 ? ROW8 : ROW4];
  float hidden8[2 * LONGEST * D8], refined8[2 * LONGEST * D8];
  float weights[MASKS][2 * D4], biases[MASKS];

  void pack(const DrawingLayers &layers) {
    pack_panels<MAPS8, 4 * MAPS4>(layers.merge8.weight, merge8);
    pack_panels<4 * D8, D16>(layers.split8, split8);
    pack_panels<4 * D4, D8>(layers.split4, split4);
    pack_panels<D8, MAPS8>(layers.maps8, maps8);
    pack_panels<D4, MAPS4>(layers.maps4, maps4);
    pack_panels<D8, D8>(layers.refine8.mix.weight, mix8);
    pack_taps<KERNEL8, D8>(layers.refine8.depthwise.weight, taps8);
    pack_taps<KERNEL4, D4>(layers.refine4.depthwise.weight, taps4);
    memset(ring8, 0, sizeof ring8);  // they may be of an earlier call with another side
    memset(ring4, 0, sizeof ring4);
  }
};

// Multiply the pixels of a row by the weight of a layer that splits each into four, and add the product of the maps. Neighbours in
// the row are `step` numbers apart, and so on. The results are a row `above` and a row `below`.
template <int INPUTS, int OUTPUTS, int MAPS>
INLINE void split(int pixels, const float *from, int64_t step, const float *maps, int64_t map_step, const float *panels,
                  const float *map_panels, float *above, float *below, int64_t to_step) {
  const float nothing[PANEL] = {};
  for (int quarter = 0; quarter < 4; quarter++)
    for (int column = 0; column < OUTPUTS; column += PANEL) {
      const float *weight = panels + (quarter * OUTPUTS + column) * INPUTS, *own = maps + quarter * MAPS;
      float *to = (quarter < 2 ? above : below) + quarter % 2 * OUTPUTS + column;
      by_tiles(pixels, [&](auto rows, int pixel) INLINE_LAMBDA {
        Tile<rows, 2> tile;
        tile.fill(nothing);
        tile.add_product(from + pixel * step, step, 1, weight, PANEL, INPUTS);
        tile.add_product(own + pixel * map_step, map_step, 1, map_panels + column * MAPS, PANEL, MAPS);
        tile.write(to + pixel * to_step, to_step);
      });
    }
}

// Add the skip to the four pixels of a split one, two above and two below, then normalize them and cut them off at zero.
template <int CHANNELS>
INLINE void add_skip(const float *skip, const Linear &norm, float *above, float *below) {
  alignas(32) float pixels[FOUR * CHANNELS];
  floats sums[FOUR];
  float *const to[FOUR] = {above, above + CHANNELS, below, below + CHANNELS};
  UNROLL for (int i = 0; i < FOUR; i++) {
    sums[i] = all(0.0f);
    UNROLL for (int channel = 0; channel < CHANNELS; channel += 8) {
      const floats value = load(to[i] + channel) + load(skip + i * CHANNELS + channel);
      store(pixels + i * CHANNELS + channel, value);
      sums[i] += value;
    }
  }
  normalize<CHANNELS>(pixels, sums, norm.weight, norm.bias, EPSILON, [&](int i, int channel, floats values) INLINE_LAMBDA {
    store(to[i] + channel, larger(values, all(0.0f)));
  });
}

// Compute the input of the mixing layer of a residual block for four pixels.
template <int KERNEL, int CHANNELS>
INLINE void hidden_of(const float *const *rows, int first, const float *taps, const Residual &block, float *hidden) {
  alignas(32) float pixels[FOUR * CHANNELS];
  floats sums[FOUR];
  convolve<KERNEL, CHANNELS>(rows, first, taps, block.depthwise.bias, pixels, sums);
  normalize<CHANNELS>(pixels, sums, block.norm.weight, block.norm.bias, EPSILON, [&](int i, int channel, floats values) INLINE_LAMBDA {
    store(hidden + i * CHANNELS + channel, larger(values, all(0.0f)));
  });
}

// One square of `side` cells; the pointers are at its first cell, and rows of cells are `cells` apart.
struct Square {
  Workspace &work;
  const DrawingLayers &layers;
  const int64_t side, cells, masks, count, map_length;
  const float *maps, *weight4, *image, *skip8, *skip4;
  float *logits;

  float *ring8(int row) const { return work.ring8[row % RING8] + EDGE8 * D8; }
  float *ring4(int row) const { return work.ring4[row % RING4] + EDGE4 * D4; }
  float *merged4(int y) const { return work.merged4[y % 2]; }

  // The mixing layer of the last residual block is linear, so it is applied to the weights of the masks instead of the pixels.
  void weigh(const float *weights) const {
    for (int mask = 0; mask < masks; mask++) {
      const float *own = weights + mask * D4;
      float *to = work.weights[mask], bias = 0.0f;
      memset(to, 0, sizeof work.weights[mask]);
      for (int k = 0; k < D4; k++) {
        bias += own[k] * layers.refine4.mix.bias[k];
        to[k] = own[k];
        for (int channel = 0; channel < D4; channel++) to[D4 + channel] += own[k] * layers.refine4.mix.weight[k * D4 + channel];
      }
      work.biases[mask] = bias;
    }
  }

  // Split row y of the cells into two rows at stride 8.
  void split_cells(int y) const {
    const int64_t at = y * cells;
    merge_cells(maps, map_length, count, at * 16, side, weight4, work.merge8, layers.merge8.bias, merged4(y), work.merged8);
    float *above = ring8(2 * y), *below = ring8(2 * y + 1);
    split<D16, D8, MAPS8>(side, image + at * D16, D16, work.merged8, 4 * MAPS8, work.split8, work.maps8, above, below, 2 * D8);
    for (int x = 0; x < side; x++) add_skip<D8>(skip8 + (at + x) * 4 * D8, layers.norm8, above + x * 2 * D8, below + x * 2 * D8);
  }

  // Refine a row at stride 8, and split it into two rows at stride 4.
  void split_refined(int row) const {
    const float *rows[KERNEL8];
    for (int dy = 0; dy < KERNEL8; dy++) {
      const int other = row + dy - EDGE8;
      rows[dy] = other < 0 || other >= 2 * side ? work.zero : ring8(other) - EDGE8 * D8;
    }
    const int width = 2 * side;
    for (int x = 0; x < width; x += FOUR) {
      const int first = x + FOUR <= width ? x : width - FOUR;
      hidden_of<KERNEL8, D8>(rows, first, work.taps8, layers.refine8, work.hidden8 + first * D8);
    }
    const float *own = ring8(row);
    by_panels<D8, D8>(
        width, work.hidden8, work.mix8, [&](auto &tile, int, int column) INLINE_LAMBDA { tile.fill(layers.refine8.mix.bias + column); },
        [&](auto &tile, int x, int column) INLINE_LAMBDA {
          tile.add(own + x * D8 + column, D8);
          tile.write(work.refined8 + x * D8 + column, D8);
        });
    float *above = ring4(2 * row), *below = ring4(2 * row + 1);
    for (int odd = 0; odd < 2; odd++) {  // the left pixels of all cells, then the right ones
      const int nested = row % 2 * 2 + odd, to = odd * 2 * D4;
      split<D8, D4, MAPS4>(side, work.refined8 + odd * D8, 2 * D8, merged4(row / 2) + nested * 4 * MAPS4, 16 * MAPS4, work.split4, work.maps4,
                           above + to, below + to, 4 * D4);
      const float *skip = skip4 + (row / 2 * cells * 4 + nested) * 4 * D4;
      for (int x = 0; x < side; x++) add_skip<D4>(skip + x * 16 * D4, layers.norm4, above + to + x * 4 * D4, below + to + x * 4 * D4);
    }
  }

  // Draw a row at stride 4.
  void draw(int row) const {
    const int64_t width = 4 * side;
    const float *rows[KERNEL4];
    for (int dy = 0; dy < KERNEL4; dy++) {
      const int other = row + dy - EDGE4;
      rows[dy] = other < 0 || other >= width ? work.zero : ring4(other) - EDGE4 * D4;
    }
    alignas(32) float hidden[FOUR * D4];
    for (int x = 0; x < width; x += FOUR) {
      hidden_of<KERNEL4, D4>(rows, x, work.taps4, layers.refine4, hidden);
      const float *own = ring4(row) + x * D4;
      for (int mask = 0; mask < masks; mask++) {
        const float *weight = work.weights[mask];
        floats sums[FOUR] = {};
        UNROLL for (int channel = 0; channel < D4; channel += 8)
          UNROLL for (int i = 0; i < FOUR; i++)
            sums[i] += load(weight + channel) * load(own + i * D4 + channel) + load(weight + D4 + channel) * load(hidden + i * D4 + channel);
        const floats drawn = sums_of(sums) + all(work.biases[mask]);
        _mm_storeu_ps(logits + (mask * width + row) * width + x, _mm256_castps256_ps128(drawn));
      }
    }
  }

  // A row is convolved once the rows below that it sees are there.
  void draw_all() const {
    for (int y = 0; y <= side; y++) {
      if (y < side) split_cells(y);
      for (int row = y > 0 ? 2 * y - 2 : 0; row < 2 * y; row++) {
        split_refined(row);
        if (row > 0) draw(2 * row - 1);
        draw(2 * row);
        if (row == 2 * side - 1) draw(2 * row + 1);
      }
    }
  }
};

}  // namespace

extern "C" void draw_masks(int64_t squares, int64_t side, int64_t cells, int64_t masks, const int64_t *prompts, const int64_t *tops,
                           const int64_t *lefts, int64_t count, int64_t map_length, const float *maps, const float *weight4,
                           const float *image, const float *weights, const float *skip8, const float *skip4, const DrawingLayers *layers,
                           float *logits) {
  static thread_local Workspace work;
  work.pack(*layers);
  for (int64_t i = 0; i < squares; i++) {
    const int64_t first = tops[i] * cells + lefts[i], own = prompts[i] * cells * cells + first;
    const Square square{work,
                        *layers,
                        side,
                        cells,
                        masks,
                        count,
                        map_length,
                        maps + own * 16,
                        weight4,
                        image + own * D16,
                        skip8 + first * 4 * D8,
                        skip4 + first * 16 * D4,
                        logits + i * masks * 16 * side * side};
    square.weigh(weights + i * masks * D4);
    square.draw_all();
  }
}
