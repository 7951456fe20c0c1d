// Arithmetic on vectors of eight floats, and products of small matrices whose sums stay in registers.
//
// Everything is float32. The functions need a processor with AVX2 and FMA.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <type_traits>

#define INLINE static inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef float floats __attribute__((vector_size(32)));  // eight of them, with the operators + - * /

INLINE floats load(const float *from) { return _mm256_loadu_ps(from); }
INLINE void store(float *to, floats values) { _mm256_storeu_ps(to, values); }
INLINE floats all(float value) { return _mm256_set1_ps(value); }
INLINE floats larger(floats one, floats other) { return _mm256_max_ps(one, other); }
INLINE floats smaller(floats one, floats other) { return _mm256_min_ps(one, other); }
INLINE floats swapped_halves(floats values) { return _mm256_permute2f128_ps(values, values, 1); }

// Return the sums of four vectors, in the first four places and again in the last four.
INLINE floats sums_of(const floats (&of)[4]) {
  const floats halves = _mm256_hadd_ps(_mm256_hadd_ps(of[0], of[1]), _mm256_hadd_ps(of[2], of[3]));
  return halves + swapped_halves(halves);
}

// Return e^x for x up to 88, with an error of some units in the last place, by the polynomial of the Cephes library (expf). It is 0
// below -60: so small numbers are lost where they are added up, and products with them would be slow subnormal numbers.
INLINE floats exponential(floats x) {
  const floats is_kept = _mm256_cmp_ps(x, all(-60.0f), _CMP_GT_OQ);
  x = larger(x, all(-60.0f));
  const floats power = _mm256_round_ps(x * all(1.44269504f), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const floats rest = x - power * all(0.693359375f) - power * all(-2.12194440e-4f);
  floats y = all(1.9875691500e-4f);
  y = y * rest + all(1.3981999507e-3f);
  y = y * rest + all(8.3334519073e-3f);
  y = y * rest + all(4.1665795894e-2f);
  y = y * rest + all(1.6666665459e-1f);
  y = y * rest + all(5.0000001201e-1f);
  y = y * (rest * rest) + rest + all(1.0f);
  const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(power), _mm256_set1_epi32(127)), 23);
  return _mm256_and_ps(y * (floats)_mm256_castsi256_ps(exponent), is_kept);
}

// Return x / 2 (1 + erf(x / sqrt 2)), with the rational function of Eigen for erf between -4 and 4.
INLINE floats gelu(floats x) {
  const floats z = larger(smaller(x * all(0.70710678f), all(4.0f)), all(-4.0f)), square = z * z;
  floats above = all(-2.72614225801306e-10f);
  above = above * square + all(2.77068142495902e-08f);
  above = above * square + all(-2.10102402082508e-06f);
  above = above * square + all(-5.69250639462346e-05f);
  above = above * square + all(-7.34990630326855e-04f);
  above = above * square + all(-2.95459980854025e-03f);
  above = above * square + all(-1.60960333262415e-02f);
  floats below = all(-1.45660718464996e-05f);
  below = below * square + all(-2.13374055278905e-04f);
  below = below * square + all(-1.68282697438203e-03f);
  below = below * square + all(-7.37332916720468e-03f);
  below = below * square + all(-1.42647390514189e-02f);
  const floats half = x * all(0.5f);
  return half + half * (z * above / below);
}

// A tile of a product, ROWS x (8 * VECTORS) numbers, which stay in registers while the products are added up.
template <int ROWS, int VECTORS>
struct Tile {
  floats at[ROWS][VECTORS];

  // Begin with the same row everywhere, such as a bias.
  INLINE_LAMBDA void fill(const float *row) {
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++) at[r][v] = load(row + 8 * v);
  }

  INLINE_LAMBDA void read(const float *from, int64_t row_length) {
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++) at[r][v] = load(from + r * row_length + 8 * v);
  }

  INLINE_LAMBDA void add(const float *from, int64_t row_length) {
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++) at[r][v] += load(from + r * row_length + 8 * v);
  }

  INLINE_LAMBDA void write(float *to, int64_t row_length) const {
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++) store(to + r * row_length + 8 * v, at[r][v]);
  }

  INLINE_LAMBDA void apply_gelu() {
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++) at[r][v] = gelu(at[r][v]);
  }

  // Add left (ROWS x inner) times right (inner x 8 VECTORS). The distance of the left numbers is given for both of their axes,
  // so that they may be transposed; the right numbers lie in rows of right_length.
  INLINE_LAMBDA void add_product(const float *left, int64_t left_row, int64_t left_inner, const float *right, int64_t right_length, int inner) {
    _Pragma("GCC unroll 2") for (int k = 0; k < inner; k++) {
      floats row[VECTORS];
      UNROLL for (int v = 0; v < VECTORS; v++) row[v] = load(right + k * right_length + 8 * v);
      UNROLL for (int r = 0; r < ROWS; r++) {
        const floats factor = all(left[r * left_row + k * left_inner]);
        UNROLL for (int v = 0; v < VECTORS; v++) at[r][v] += factor * row[v];
      }
    }
  }
};

// Call work(std::integral_constant<int, ROWS>, first row) for tiles of 6 or 4 rows, which cover any number of rows from 4 on. Of an
// odd number, the last tile begins in the tile before it, so that some rows are computed twice.
template <class Work>
INLINE void by_tiles(int rows, Work work) {
  int row = 0;
  for (; row + 6 <= rows && rows - row != 7 && rows - row != 8; row += 6) work(std::integral_constant<int, 6>{}, row);
  for (; row < rows; row += 4) work(std::integral_constant<int, 4>{}, row + 4 <= rows ? row : rows - 4);
}

constexpr int PANEL = 16;  // columns of a tile of two vectors

// Lay the weight of a linear layer (OUTPUTS x INPUTS) out in panels of 16 outputs: (OUTPUTS / 16) x INPUTS x 16.
template <int OUTPUTS, int INPUTS>
INLINE void pack_panels(const float *weight, float *panels) {
  for (int panel = 0; panel < OUTPUTS / PANEL; panel++)
    for (int input = 0; input < INPUTS; input++)
      for (int i = 0; i < PANEL; i++) panels[(panel * INPUTS + input) * PANEL + i] = weight[(panel * PANEL + i) * INPUTS + input];
}

// Merge `rows` rows of INPUTS numbers with the panels of a linear layer, one panel of 16 outputs after the other.
template <int INPUTS, int OUTPUTS, class Begin, class End>
INLINE void by_panels(int rows, const float *from, const float *panels, Begin begin, End end) {
  for (int panel = 0; panel < OUTPUTS / PANEL; panel++)
    by_tiles(rows, [&](auto tall, int row) INLINE_LAMBDA {
      Tile<tall, 2> tile;
      begin(tile, row, panel * PANEL);
      tile.add_product(from + row * INPUTS, INPUTS, 1, panels + panel * INPUTS * PANEL, PANEL, INPUTS);
      end(tile, row, panel * PANEL);
    });
}
