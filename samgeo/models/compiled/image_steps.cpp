// The steps of the bundled network on the image of a prompt: 32 x 32 cells of 128 channels at stride 16. Each step goes through
// the image once, in blocks that stay in the cache of a core. samgeo/models/compiled/image_steps.py describes the arguments,
// which are C-contiguous, and checks them.
#include <cstring>

#include "pixels.h"
#include "prompt_maps.h"
#include "vectors.h"

// The number that library.py expects; both are raised whenever arguments change.
extern "C" int64_t interface_number() { return 3; }

namespace {

constexpr int CHANNELS = 128, HEADS = 4, SIDE = 32;

}  // namespace

// ---------------------------------------------------------------------------------------------------- prompt maps to an image

extern "C" void merge_maps(int64_t prompts, int64_t cells, int64_t count, int64_t map_length, const float *maps, const float *weight4, const float *weight8,
                           const float *bias8, const float *weight16, const float *shared, float *image) {
  constexpr int FEW = 12, MANY = 48;  // cells whose pixels at stride 4, and those at stride 8, are in the cache at once
  alignas(64) float panels8[4 * MAPS4 * MAPS8], panels16[CHANNELS * CHANNELS];
  alignas(64) float merged4[FEW * 16 * MAPS4], merged8[MANY * 4 * MAPS8];
  pack_panels<MAPS8, 4 * MAPS4>(weight8, panels8);
  pack_panels<CHANNELS, 4 * MAPS8>(weight16, panels16);
  const int64_t pixels = cells * 16;
  for (int64_t prompt = 0; prompt < prompts; prompt++)
    for (int64_t outer = 0; outer < cells; outer += MANY) {
      const int many = cells - outer < MANY ? cells - outer : MANY;
      for (int inner = 0; inner < many; inner += FEW) {
        const int few = many - inner < FEW ? many - inner : FEW;
        const int64_t first = prompt * pixels + (outer + inner) * 16;
        merge_cells(maps, map_length, count, first, few, weight4, panels8, bias8, merged4, merged8 + inner * 4 * MAPS8);
      }
      const float *from = shared + outer * CHANNELS;
      float *to = image + (prompt * cells + outer) * CHANNELS;
      by_panels<4 * MAPS8, CHANNELS>(
          many, merged8, panels16, [&](auto &tile, int row, int column) INLINE_LAMBDA { tile.read(from + row * CHANNELS + column, CHANNELS); },
          [&](auto &tile, int row, int column) INLINE_LAMBDA { tile.write(to + row * CHANNELS + column, CHANNELS); });
    }
}

// ------------------------------------------------------------------------------------------- attention between cells and tokens

namespace {

// Scores of a cell are laid out with the heads innermost: the score of a token and a head is in column HEADS * token + head. A
// vector has two tokens; VECTORS of them hold the tokens, and a last one that is missing has a weight of zero.

template <int VECTORS>
INLINE void pack_tokens(const float *absorbed, int tokens, float *weight) {
  for (int head = 0; head < HEADS; head++)
    for (int token = 0; token < 2 * VECTORS; token++)
      for (int channel = 0; channel < CHANNELS; channel++)
        weight[channel * 8 * VECTORS + HEADS * token + head] = token < tokens ? absorbed[(head * tokens + token) * CHANNELS + channel] : 0.0f;
}

// Call done(cell, vectors of scores) for a row of cells. The scores are bias + (image + positions) weight.
template <int VECTORS, class Done>
INLINE void score_cells(const float *image, const float *positions, const float *bias, const float *weight, Done done) {
  constexpr int COLUMNS = 8 * VECTORS, HALF = SIDE / 2;
  constexpr int ROWS = VECTORS <= 3 ? 4 : VECTORS == 4 ? 3 : 2;  // as many as there are registers for
  alignas(32) float placed[HALF * CHANNELS];
  auto score = [&](auto rows, int first, int cell) INLINE_LAMBDA {
    constexpr int TALL = rows;
    Tile<TALL, VECTORS> tile;
    tile.fill(bias);
    tile.add_product(placed + cell * CHANNELS, CHANNELS, 1, weight, COLUMNS, CHANNELS);
    UNROLL for (int r = 0; r < TALL; r++) done(first + cell + r, tile.at[r]);
  };
  for (int first = 0; first < SIDE; first += HALF) {
    for (int i = 0; i < HALF * CHANNELS; i += 8) store(placed + i, load(image + first * CHANNELS + i) + load(positions + first * CHANNELS + i));
    int cell = 0;
    for (; cell + ROWS <= HALF; cell += ROWS) score(std::integral_constant<int, ROWS>{}, first, cell);
    if constexpr (HALF % ROWS != 0)
      for (; cell < HALF; cell++) score(std::integral_constant<int, 1>{}, first, cell);
  }
}

// Add attention (transposed: cells x columns) times the cells to the sums of each column.
template <int COLUMNS>
INLINE void pool_cells(int columns, int cells, const float *attention, const float *image, float *sums) {
  for (int channel = 0; channel < CHANNELS; channel += PANEL)
    by_tiles(columns, [&](auto rows, int column) INLINE_LAMBDA {
      Tile<rows, 2> tile;
      tile.read(sums + column * CHANNELS + channel, CHANNELS);
      tile.add_product(attention + column, 1, COLUMNS, image + channel, CHANNELS, cells);
      tile.write(sums + column * CHANNELS + channel, CHANNELS);
    });
}

template <int VECTORS>
void pool(int64_t prompts, int tokens, const float *absorbed, const float *image, const float *positions, float *pooled) {
  constexpr int COLUMNS = 8 * VECTORS, CELLS = SIDE * SIDE;
  alignas(64) float weight[CHANNELS * COLUMNS], shares[SIDE * COLUMNS], sums[COLUMNS * CHANNELS];
  const float no_bias[COLUMNS] = {};
  for (int64_t prompt = 0; prompt < prompts; prompt++) {
    const float *own = image + prompt * CELLS * CHANNELS;
    pack_tokens<VECTORS>(absorbed + prompt * HEADS * tokens * CHANNELS, tokens, weight);
    memset(sums, 0, sizeof sums);
    floats largest[VECTORS], total[VECTORS];
    for (int v = 0; v < VECTORS; v++) largest[v] = all(-1e30f), total[v] = all(0.0f);
    for (int first = 0; first < CELLS; first += SIDE) {
      floats now[VECTORS];
      UNROLL for (int v = 0; v < VECTORS; v++) now[v] = largest[v];
      score_cells<VECTORS>(own + first * CHANNELS, positions + first * CHANNELS, no_bias, weight, [&](int cell, const floats *scores) INLINE_LAMBDA {
        UNROLL for (int v = 0; v < VECTORS; v++) {
          store(shares + cell * COLUMNS + 8 * v, scores[v]);
          now[v] = larger(now[v], scores[v]);
        }
      });
      for (int v = 0; v < VECTORS; v++) {
        if (_mm256_movemask_ps(_mm256_cmp_ps(now[v], largest[v], _CMP_GT_OQ))) {  // the sums so far are for a smaller maximum
          alignas(32) float by[8];
          const floats factor = exponential(largest[v] - now[v]);
          store(by, factor);
          total[v] *= factor;
          for (int i = 0; i < 8; i++) {
            float *sum = sums + (8 * v + i) * CHANNELS;
            for (int channel = 0; channel < CHANNELS; channel += 8) store(sum + channel, load(sum + channel) * all(by[i]));
          }
          largest[v] = now[v];
        }
        for (int cell = 0; cell < SIDE; cell++) {
          float *share = shares + cell * COLUMNS + 8 * v;
          const floats value = exponential(load(share) - largest[v]);
          total[v] += value;
          store(share, value);
        }
      }
      pool_cells<COLUMNS>(HEADS * tokens, SIDE, shares, own + first * CHANNELS, sums);
    }
    alignas(32) float by[COLUMNS];
    for (int v = 0; v < VECTORS; v++) store(by + 8 * v, all(1.0f) / total[v]);
    for (int head = 0; head < HEADS; head++)
      for (int token = 0; token < tokens; token++) {
        const int column = HEADS * token + head;
        float *to = pooled + ((prompt * HEADS + head) * tokens + token) * CHANNELS;
        for (int channel = 0; channel < CHANNELS; channel += 8) store(to + channel, load(sums + column * CHANNELS + channel) * all(by[column]));
      }
  }
}

// Of three rows of cells with a margin of one cell at each end, compute the depthwise convolution and the layer norm of the
// cells of the middle row.
INLINE void convolve_and_normalize(const float *const rows[3], const float *taps, const float *bias, const float *scale, const float *shift,
                                   float epsilon, float *to) {
  alignas(32) float cells[FOUR * CHANNELS];
  floats sums[FOUR];
  for (int first = 0; first < SIDE; first += FOUR) {
    convolve<3, CHANNELS>(rows, first, taps, bias, cells, sums);
    normalize<CHANNELS>(cells, sums, scale, shift, epsilon,
                        [&](int i, int channel, floats values) INLINE_LAMBDA { store(to + (first + i) * CHANNELS + channel, values); });
  }
}

template <int VECTORS>
void renew(int64_t prompts, int tokens, float *image, const float *positions, const float *absorbed, const float *bias, const float *values,
           const float *kernel, const float *kernel_bias, const float *scale, const float *shift, float epsilon) {
  constexpr int COLUMNS = 8 * VECTORS, ROW = (SIDE + 2) * CHANNELS;
  alignas(64) float weight[CHANNELS * COLUMNS], biases[COLUMNS], panels[CHANNELS / PANEL * COLUMNS * PANEL], attention[SIDE * COLUMNS];
  alignas(64) float ring[3 * ROW] = {}, zero[ROW] = {}, taps[9 * CHANNELS];
  pack_taps<3, CHANNELS>(kernel, taps);
  for (int64_t prompt = 0; prompt < prompts; prompt++) {
    float *own = image + prompt * SIDE * SIDE * CHANNELS;
    pack_tokens<VECTORS>(absorbed + prompt * HEADS * tokens * CHANNELS, tokens, weight);
    for (int token = 0; token < 2 * VECTORS; token++)
      for (int head = 0; head < HEADS; head++) {
        const int column = HEADS * token + head;
        const int64_t row = (prompt * HEADS + head) * tokens + token;
        biases[column] = token < tokens ? bias[row] : -1e30f;  // a missing token gets no attention
        for (int channel = 0; channel < CHANNELS; channel++)
          panels[(channel / PANEL * COLUMNS + column) * PANEL + channel % PANEL] = token < tokens ? values[row * CHANNELS + channel] : 0.0f;
      }
    // Row y of the cells reads the tokens; then row y - 1, whose neighbours have read them, is convolved and written.
    for (int y = 0; y <= SIDE; y++) {
      if (y < SIDE) {
        const float *row = own + y * SIDE * CHANNELS;
        score_cells<VECTORS>(row, positions + y * SIDE * CHANNELS, biases, weight, [&](int cell, floats *scores) INLINE_LAMBDA {
          floats largest = scores[0];
          UNROLL for (int v = 1; v < VECTORS; v++) largest = larger(largest, scores[v]);
          largest = larger(largest, swapped_halves(largest));
          floats total = all(0.0f);
          UNROLL for (int v = 0; v < VECTORS; v++) {
            scores[v] = exponential(scores[v] - largest);
            total += scores[v];
          }
          total = all(1.0f) / (total + swapped_halves(total));
          UNROLL for (int v = 0; v < VECTORS; v++) store(attention + cell * COLUMNS + 8 * v, scores[v] * total);
        });
        float *to = ring + (y % 3) * ROW + CHANNELS;
        by_panels<COLUMNS, CHANNELS>(
            SIDE, attention, panels, [&](auto &tile, int cell, int column) INLINE_LAMBDA { tile.read(row + cell * CHANNELS + column, CHANNELS); },
            [&](auto &tile, int cell, int column) INLINE_LAMBDA { tile.write(to + cell * CHANNELS + column, CHANNELS); });
      }
      if (y == 0) continue;
      const float *const rows[3] = {y > 1 ? ring + ((y - 2) % 3) * ROW : zero, ring + ((y - 1) % 3) * ROW, y < SIDE ? ring + (y % 3) * ROW : zero};
      convolve_and_normalize(rows, taps, kernel_bias, scale, shift, epsilon, own + (y - 1) * SIDE * CHANNELS);
    }
  }
}

}  // namespace

extern "C" void pool_image(int64_t prompts, int64_t tokens, const float *absorbed, const float *image, const float *positions, float *pooled) {
  switch ((tokens + 1) / 2) {
    case 3: return pool<3>(prompts, tokens, absorbed, image, positions, pooled);
    case 4: return pool<4>(prompts, tokens, absorbed, image, positions, pooled);
    case 5: return pool<5>(prompts, tokens, absorbed, image, positions, pooled);
    case 6: return pool<6>(prompts, tokens, absorbed, image, positions, pooled);
  }
}

extern "C" void renew_image(int64_t prompts, int64_t tokens, float *image, const float *positions, const float *absorbed, const float *bias,
                            const float *values, const float *kernel, const float *kernel_bias, const float *scale, const float *shift,
                            float epsilon) {
  switch ((tokens + 1) / 2) {
    case 3: return renew<3>(prompts, tokens, image, positions, absorbed, bias, values, kernel, kernel_bias, scale, shift, epsilon);
    case 4: return renew<4>(prompts, tokens, image, positions, absorbed, bias, values, kernel, kernel_bias, scale, shift, epsilon);
    case 5: return renew<5>(prompts, tokens, image, positions, absorbed, bias, values, kernel, kernel_bias, scale, shift, epsilon);
    case 6: return renew<6>(prompts, tokens, image, positions, absorbed, bias, values, kernel, kernel_bias, scale, shift, epsilon);
  }
}

// ------------------------------------------------------------------------------------------------------ the judgement of masks

extern "C" void judge_candidates(int64_t prompts, int64_t candidates, const float *image, const float *weights, float bias, float *coverage,
                                 float *seen, float *area) {
  constexpr int MOST = 8, CELLS = SIDE * SIDE;
  alignas(64) float weight[CHANNELS * MOST], shares[SIDE * MOST], sums[MOST * CHANNELS];
  const float biases[MOST] = {bias, bias, bias, bias, bias, bias, bias, bias};
  const int columns = candidates <= 4 ? 4 : MOST;
  for (int64_t prompt = 0; prompt < prompts; prompt++) {
    for (int channel = 0; channel < CHANNELS; channel++)
      for (int one = 0; one < MOST; one++)
        weight[channel * MOST + one] = one < candidates ? weights[(prompt * candidates + one) * CHANNELS + channel] : 0.0f;
    memset(sums, 0, sizeof sums);
    floats total = all(0.0f);
    for (int first = 0; first < CELLS; first += SIDE) {
      const float *own = image + (prompt * CELLS + first) * CHANNELS;
      for (int cell = 0; cell < SIDE; cell += 8) {
        Tile<8, 1> tile;
        tile.fill(biases);
        tile.add_product(own + cell * CHANNELS, CHANNELS, 1, weight, MOST, CHANNELS);
        UNROLL for (int r = 0; r < 8; r++) {
          const floats share = all(1.0f) / (all(1.0f) + exponential(smaller(all(0.0f) - tile.at[r][0], all(80.0f))));
          total += share;
          store(shares + (cell + r) * MOST, share);
          for (int one = 0; one < candidates; one++) coverage[(prompt * candidates + one) * CELLS + first + cell + r] = tile.at[r][0][one];
        }
      }
      pool_cells<MOST>(columns, SIDE, shares, own, sums);
    }
    for (int one = 0; one < candidates; one++) {
      area[prompt * candidates + one] = total[one];
      memcpy(seen + (prompt * candidates + one) * CHANNELS, sums + one * CHANNELS, CHANNELS * sizeof(float));
    }
  }
}
