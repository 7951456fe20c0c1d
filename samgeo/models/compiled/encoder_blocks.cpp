// The blocks of the image encoder of the bundled network: the first convolution and the inverted residual blocks of MobileNetV2, and
// the blocks with a depthwise convolution of 5 x 5 that refine the pyramid. A block goes through an image a few rows at a time, so
// that what it computes between its layers stays in the cache of a core. samgeo/models/compiled/encoder_blocks.py describes the
// arguments, which are C-contiguous, and checks them. `first` and `end` are rows of the results: only those are computed, which
// is how threads share an image.
#include <cstdlib>
#include <cstring>

#include "pixels.h"
#include "vectors.h"

namespace {

// Numbers that begin at a cache line, and are zero at first where that is asked for.
struct Numbers {
  float *const at;

  explicit Numbers(int64_t count, bool zeroed = false) : at(static_cast<float *>(std::aligned_alloc(64, (count * 4 + 63) / 64 * 64))) {
    if (at == nullptr) abort();
    if (zeroed) memset(at, 0, count * sizeof(float));
  }
  Numbers(const Numbers &) = delete;
  Numbers &operator=(const Numbers &) = delete;
  ~Numbers() { free(at); }
};

int64_t panels_of(int64_t outputs) { return (outputs + PANEL - 1) / PANEL; }

// Lay the weight of a layer (outputs x inputs) out in panels of 16 outputs. The last panel may have fewer.
void pack(const float *weight, int64_t outputs, int64_t inputs, float *panels) {
  for (int64_t first = 0; first < outputs; first += PANEL) {
    const int64_t width = outputs - first < PANEL ? outputs - first : PANEL;
    for (int64_t input = 0; input < inputs; input++)
      for (int64_t i = 0; i < width; i++) panels[(first * inputs) + input * PANEL + i] = weight[(first + i) * inputs + input];
  }
}

INLINE floats cut(floats values) { return smaller(larger(values, all(0.0f)), all(6.0f)); }

template <int ROWS, int VECTORS>
INLINE void cut_all(Tile<ROWS, VECTORS> &tile) {
  UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++) tile.at[r][v] = cut(tile.at[r][v]);
}

}  // namespace

// -------------------------------------------------------------------------------------------------------- the first convolution

// Each pixel sees three by three pixels of three channels; of each of the three rows these are nine numbers side by side.
extern "C" void stem(int64_t images, int64_t height, int64_t width, int64_t outputs, int64_t first, int64_t end, const float *pixels,
                     const float *weight, const float *bias, float *to) {
  constexpr int COLORS = 3, NINE = 9;
  const int64_t row_length = (width + 1) * COLORS, tall = height / 2, wide = width / 2;
  const Numbers panels(27 * outputs), rows(3 * row_length, true);
  for (int64_t output = 0; output < outputs; output++)
    for (int64_t tap = 0; tap < NINE; tap++)
      for (int64_t color = 0; color < COLORS; color++)
        panels.at[(output / PANEL * 27 + tap * COLORS + color) * PANEL + output % PANEL] = weight[(output * COLORS + color) * NINE + tap];
  for (int64_t image = 0; image < images; image++)
    for (int64_t y = first; y < end; y++) {
      for (int dy = 0; dy < 3; dy++) {
        const int64_t row = 2 * y + dy;
        if (row < height)
          memcpy(rows.at + dy * row_length, pixels + (image * height + row) * width * COLORS, width * COLORS * sizeof(float));
        else
          memset(rows.at + dy * row_length, 0, width * COLORS * sizeof(float));
      }
      float *own = to + (image * tall + y) * wide * outputs;
      for (int64_t column = 0; column < outputs; column += PANEL)
        by_tiles(wide, [&](auto high, int x) INLINE_LAMBDA {
          Tile<high, 2> tile;
          tile.fill(bias + column);
          for (int dy = 0; dy < 3; dy++)
            tile.add_product(rows.at + dy * row_length + x * 2 * COLORS, 2 * COLORS, 1, panels.at + (column * 3 + dy * PANEL) * NINE, PANEL, NINE);
          cut_all(tile);
          tile.write(own + x * outputs + column, outputs);
        });
    }
}

// ----------------------------------------------------------------------------------------------------- inverted residual blocks

namespace {

// Filter the channels of a panel for a row of results, four pixels at a time. `rows` have their pixel -1 first.
template <int STRIDE>
INLINE void filter(const float *const *rows, int64_t width, const float *taps, const float *bias, float *to) {
  constexpr int SEEN = STRIDE * (FOUR - 1) + 3, MARGIN = STRIDE == 2 ? 1 : 0;  // a stride of 2 sees nothing left of the first pixel
  for (int64_t next = 0; next < width; next += FOUR) {
    const int64_t x = next + FOUR <= width ? next : width - FOUR;
    UNROLL for (int half = 0; half < PANEL; half += 8) {
      floats value[FOUR];
      UNROLL for (int i = 0; i < FOUR; i++) value[i] = load(bias + half);
      UNROLL for (int dy = 0; dy < 3; dy++) {
        const float *from = rows[dy] + (STRIDE * x + MARGIN) * PANEL + half;
        floats factor[3];
        UNROLL for (int dx = 0; dx < 3; dx++) factor[dx] = load(taps + (3 * dy + dx) * PANEL + half);
        UNROLL for (int seen = 0; seen < SEEN; seen++) {
          const floats pixel = load(from + seen * PANEL);
          UNROLL for (int i = 0; i < FOUR; i++)
            if (seen >= STRIDE * i && seen < STRIDE * i + 3) value[i] += factor[seen - STRIDE * i] * pixel;
        }
      }
      UNROLL for (int i = 0; i < FOUR; i++) store(to + (x + i) * PANEL + half, cut(value[i]));
    }
  }
}

struct Inverted {
  const int64_t height, width, inputs, hidden, outputs, stride;
  const bool expands, residual;
  const float *expand_bias, *filter_bias, *project_bias;
  const float *expand, *taps, *project;  // packed
};

// Compute a panel of the hidden channels of a row; `to` begins with the pixel -1.
INLINE void widen_row(const Inverted &block, const float *pixels, int64_t panel, float *to) {
  if (!block.expands) {
    for (int64_t x = 0; x < block.width; x++)
      UNROLL for (int half = 0; half < PANEL; half += 8) store(to + (x + 1) * PANEL + half, load(pixels + x * block.inputs + panel * PANEL + half));
    return;
  }
  by_tiles(block.width, [&](auto high, int x) INLINE_LAMBDA {
    Tile<high, 2> tile;
    tile.fill(block.expand_bias + panel * PANEL);
    tile.add_product(pixels + x * block.inputs, block.inputs, 1, block.expand + panel * block.inputs * PANEL, PANEL, block.inputs);
    cut_all(tile);
    tile.write(to + (x + 1) * PANEL, PANEL);
  });
}

// Narrow some pixels, whose hidden channels lie panel by panel, to 8 * VECTORS outputs.
template <int VECTORS>
INLINE void narrow(const Inverted &block, int64_t count, const float *filtered, int64_t column, const float *own, float *to) {
  const float *panel = block.project + column * block.hidden;
  by_tiles(count, [&](auto high, int pixel) INLINE_LAMBDA {
    Tile<high, VECTORS> tile;
    tile.fill(block.project_bias + column);
    for (int64_t first = 0; first < block.hidden; first += PANEL)
      tile.add_product(filtered + first * count + pixel * PANEL, PANEL, 1, panel + first * PANEL, PANEL, PANEL);
    if (block.residual) tile.add(own + pixel * block.outputs + column, block.outputs);
    tile.write(to + pixel * block.outputs + column, block.outputs);
  });
}

}  // namespace

// The hidden channels are kept panel by panel, each in a ring of the rows that some rows of the results see: `band` rows, so that the
// weights, which do not fit the cache for many channels, are used for several pixels each time.
extern "C" void inverted_residual(int64_t images, int64_t height, int64_t width, int64_t inputs, int64_t hidden, int64_t outputs, int64_t stride,
                                  int64_t residual, int64_t expands, int64_t first, int64_t end, const float *pixels, const float *expand,
                                  const float *expand_bias, const float *depthwise, const float *depthwise_bias, const float *project,
                                  const float *project_bias, float *to) {
  constexpr int64_t ENOUGH = 64;  // pixels of a band
  const int64_t tall = height / stride, wide = width / stride, band = wide < ENOUGH ? ENOUGH / wide : 1;
  const int64_t ring = stride * (band - 1) + 3, row_length = (width + 2) * PANEL, panels = hidden / PANEL;
  const Numbers expands_to(expands ? inputs * hidden : 0), taps(9 * hidden), projects_to(hidden * panels_of(outputs) * PANEL);
  const Numbers rows(panels * ring * row_length, true), zero(row_length, true), filtered(band * wide * hidden);
  if (expands) pack(expand, hidden, inputs, expands_to.at);
  pack(project, outputs, hidden, projects_to.at);
  for (int64_t channel = 0; channel < hidden; channel++)
    for (int64_t tap = 0; tap < 9; tap++) taps.at[(channel / PANEL * 9 + tap) * PANEL + channel % PANEL] = depthwise[channel * 9 + tap];
  const Inverted block{height, width, inputs, hidden, outputs, stride, expands != 0, residual != 0,
                       expand_bias, depthwise_bias, project_bias, expands_to.at, taps.at, projects_to.at};
  for (int64_t image = 0; image < images; image++) {
    const float *given = pixels + image * height * width * inputs;
    float *result = to + image * tall * wide * outputs;
    int64_t made = 0;  // the first row that is not in the ring yet
    for (int64_t y = first; y < end; y += band) {
      const int64_t some = end - y < band ? end - y : band, count = some * wide;
      const int64_t top = stride == 2 ? 2 * y : y - 1, next = top + stride * (some - 1) + 3;  // rows that are seen
      const int64_t from = made > top ? made : top > 0 ? top : 0, until = next < height ? next : height;
      for (int64_t panel = 0; panel < panels; panel++) {
        float *own = rows.at + panel * ring * row_length;
        for (int64_t row = from; row < until; row++) widen_row(block, given + row * width * inputs, panel, own + row % ring * row_length);
        for (int64_t i = 0; i < some; i++) {
          const float *seen[3];
          for (int dy = 0; dy < 3; dy++) {
            const int64_t row = top + stride * i + dy;
            seen[dy] = row < 0 || row >= height ? zero.at : own + row % ring * row_length;
          }
          float *filters_to = filtered.at + (panel * count + i * wide) * PANEL;
          const float *own_taps = taps.at + panel * 9 * PANEL, *bias = depthwise_bias + panel * PANEL;
          if (stride == 2)
            filter<2>(seen, wide, own_taps, bias, filters_to);
          else
            filter<1>(seen, wide, own_taps, bias, filters_to);
        }
      }
      made = until;
      const float *own = given + y * width * inputs;
      float *narrows_to = result + y * wide * outputs;
      int64_t column = 0;
      for (; column + PANEL <= outputs; column += PANEL) narrow<2>(block, count, filtered.at, column, own, narrows_to);
      if (column < outputs) narrow<1>(block, count, filtered.at, column, own, narrows_to);
    }
  }
}

// ------------------------------------------------------------------------------------------------ blocks that refine the pyramid

struct RefiningLayers {
  const float *kernel, *kernel_bias, *scale, *shift;
  const float *widen, *widen_bias;  // null for a block with one linear layer
  const float *narrow, *narrow_bias;
};

namespace {

constexpr int KERNEL = 5, EDGE = KERNEL / 2;

// With TIMES = 0 there is no wide layer: the block is x + narrow(relu(norm(depthwise(x)))), else x + narrow(gelu(widen(norm(...)))).
template <int CHANNELS, int TIMES>
void refine(int64_t images, int64_t height, int64_t width, int64_t first, int64_t end, const float *pixels, float epsilon,
            const RefiningLayers &layers, float *to) {
  constexpr int WIDE = TIMES > 0 ? TIMES * CHANNELS : CHANNELS;
  constexpr int64_t ENOUGH = 32;  // pixels whose wide channels are in the cache at once
  const int64_t band = width < ENOUGH ? ENOUGH / width : 1, row_length = (width + 2 * EDGE) * CHANNELS;
  const Numbers taps(KERNEL * KERNEL * CHANNELS), widens_to(CHANNELS * WIDE), narrows_to(WIDE * CHANNELS), wide(ENOUGH * WIDE);
  const Numbers rows(KERNEL * row_length, true), zero(row_length, true), normed(band * width * CHANNELS);
  pack_taps<KERNEL, CHANNELS>(layers.kernel, taps.at);
  if constexpr (TIMES > 0) pack_panels<WIDE, CHANNELS>(layers.widen, widens_to.at);
  pack_panels<CHANNELS, WIDE>(layers.narrow, narrows_to.at);
  for (int64_t image = 0; image < images; image++) {
    const float *given = pixels + image * height * width * CHANNELS;
    int64_t made = first > EDGE ? first - EDGE : 0;
    for (int64_t y = first; y < end; y += band) {
      const int64_t some = end - y < band ? end - y : band, count = some * width;
      for (int64_t i = 0; i < some; i++) {
        for (; made <= y + i + EDGE && made < height; made++)
          memcpy(rows.at + made % KERNEL * row_length + EDGE * CHANNELS, given + made * width * CHANNELS, width * CHANNELS * sizeof(float));
        const float *seen[KERNEL];
        for (int dy = 0; dy < KERNEL; dy++) {
          const int64_t row = y + i + dy - EDGE;
          seen[dy] = row < 0 || row >= height ? zero.at : rows.at + row % KERNEL * row_length;
        }
        for (int64_t x = 0; x < width; x += FOUR) {
          alignas(32) float convolved[FOUR * CHANNELS];
          floats sums[FOUR];
          float *own = normed.at + (i * width + x) * CHANNELS;
          convolve<KERNEL, CHANNELS>(seen, x, taps.at, layers.kernel_bias, convolved, sums);
          normalize<CHANNELS>(convolved, sums, layers.scale, layers.shift, epsilon, [&](int pixel, int channel, floats values) INLINE_LAMBDA {
            store(own + pixel * CHANNELS + channel, TIMES > 0 ? values : larger(values, all(0.0f)));
          });
        }
      }
      const int64_t at = y * width * CHANNELS;
      for (int64_t next = 0; next < count; next += ENOUGH) {
        const int64_t few = count - next < ENOUGH ? count - next : ENOUGH;  // at least four
        const float *from = normed.at + next * CHANNELS, *own = given + at + next * CHANNELS;
        float *result = to + image * height * width * CHANNELS + at + next * CHANNELS;
        if constexpr (TIMES > 0) {
          by_panels<CHANNELS, WIDE>(
              few, from, widens_to.at, [&](auto &tile, int, int column) INLINE_LAMBDA { tile.fill(layers.widen_bias + column); },
              [&](auto &tile, int row, int column) INLINE_LAMBDA {
                tile.apply_gelu();
                tile.write(wide.at + row * WIDE + column, WIDE);
              });
          from = wide.at;
        }
        by_panels<WIDE, CHANNELS>(
            few, from, narrows_to.at, [&](auto &tile, int, int column) INLINE_LAMBDA { tile.fill(layers.narrow_bias + column); },
            [&](auto &tile, int row, int column) INLINE_LAMBDA {
              tile.add(own + row * CHANNELS + column, CHANNELS);
              tile.write(result + row * CHANNELS + column, CHANNELS);
            });
      }
    }
  }
}

}  // namespace

extern "C" void refine_pixels(int64_t images, int64_t height, int64_t width, int64_t channels, int64_t first, int64_t end, const float *pixels,
                              float epsilon, const RefiningLayers *layers, float *to) {
  const bool widens = layers->widen != nullptr;
  const auto chosen = channels == 128  ? (widens ? refine<128, 4> : refine<128, 0>)
                      : channels == 64 ? (widens ? refine<64, 4> : refine<64, 0>)
                                       : (widens ? refine<32, 4> : refine<32, 0>);
  chosen(images, height, width, first, end, pixels, epsilon, *layers, to);
}
