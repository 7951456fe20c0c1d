"""Scenes and perfect models for windows of several scales, whose mixed colours are the id of nothing."""

import numpy as np

from samgeo.testing import encode_ids
from samgeo.testing.oracle import Oracle

MOST_IDS = 1 << 12

# A colour for each id, far from all others, so that the mean of two is the colour of none.
COLORS = np.concatenate([[0], 1 + np.random.default_rng(0).choice((1 << 24) - 1, MOST_IDS - 1, replace=False)]).astype(np.int32)
_SORTED = np.sort(COLORS)


def paint(labels: np.ndarray) -> np.ndarray:
    """An image of ids below `MOST_IDS`."""
    return encode_ids(COLORS[labels])


class Sharp(Oracle):
    """An oracle that takes mixed colours, of which decimated windows have some along every edge, for background."""

    def embed(self, images, sizes=None):
        ids = super().embed(images, sizes)
        known = _SORTED[np.searchsorted(_SORTED, ids).clip(0, MOST_IDS - 1)] == ids
        return np.where(known, ids, 0)


class Shortsighted(Sharp):
    """An oracle that does not see what fills most of its window, as models do not that look for objects."""

    def embed(self, images, sizes=None):
        ids = super().embed(images, sizes)
        for window in ids:
            values, counts = np.unique(window, return_counts=True)
            window[np.isin(window, values[counts > 0.6 * window.size])] = 0
        return ids


class Doubtful(Sharp):
    """An oracle that sees blocks of 8 x 8 pixels in what fills most of its window, and doubts all objects of that size."""

    BLOCK = 8

    def embed(self, images, sizes=None):
        ids = super().embed(images, sizes)
        rows, columns = np.indices(ids.shape[1:]) // self.BLOCK
        blocks = MOST_IDS * MOST_IDS + rows * self.input_size + columns
        for window in ids:
            values, counts = np.unique(window, return_counts=True)
            filled = np.isin(window, values[(counts > 0.6 * window.size) & (values > 0)])
            window[filled] = blocks[filled]
        return ids

    def decode(self, embedding, **prompts):
        logits, predicted = super().decode(embedding, **prompts)
        return logits, predicted.masked_fill((logits > 0).sum(dim=(-2, -1)) <= self.BLOCK**2, 0.1)
