// Dense maps of prompts, merged at strides 4 and 8. Pixels are in nested order: 16 at stride 4, and 4 at stride 8, are a cell.
#pragma once

#include "vectors.h"

constexpr int MAPS4 = 16, MAPS8 = 32;  // channels at strides 4 and 8

// Merge the maps of some cells, which begin at the pixel `first`. `maps` has a map of ones last. The weight at stride 8 is packed.
INLINE void merge_cells(const float *maps, int64_t map_length, int64_t count, int64_t first, int cells, const float *weight4,
                        const float *panels8, const float *bias8, float *merged4, float *merged8) {
  by_tiles(cells * 16, [&](auto rows, int row) INLINE_LAMBDA {
    Tile<rows, 2> tile;
    tile.fill(weight4 + (count - 1) * MAPS4);  // the weight of the map of ones
    tile.add_product(maps + first + row, 1, map_length, weight4, MAPS4, count - 1);
    tile.apply_gelu();
    tile.write(merged4 + row * MAPS4, MAPS4);
  });
  by_panels<4 * MAPS4, MAPS8>(
      cells * 4, merged4, panels8, [&](auto &tile, int, int column) INLINE_LAMBDA { tile.fill(bias8 + column); },
      [&](auto &tile, int row, int column) INLINE_LAMBDA {
        tile.apply_gelu();
        tile.write(merged8 + row * MAPS8 + column, MAPS8);
      });
}
