"""A model for one kind of object, made from a single example: PerSAM and PerSAM-F (Zhang et al., arXiv:2305.03048)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.finding.persam.cascade import first_candidates, follow_persam, follow_persam_f, masks_of
from samgeo.finding.persam.mask_weights import learn_mask_weights
from samgeo.finding.persam.similarity import (
    Clicks,
    EncodedImage,
    cells_of_mask,
    encode_image,
    similarity_map,
    similarity_peaks,
    target_feature,
    to_image,
)
from samgeo.geo.grid import Rect
from samgeo.models.protocols import Guiding, Segmenter
from samgeo.models.registry import load_model
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.nms import keep_greedily, nearly_equal

__all__ = ["Personalized", "personalize"]


@dataclass(frozen=True, slots=True, eq=False)
class Personalized:
    """A model and what it learned from one example; `personalize` makes it.

    Attributes
    ----------
    model : Segmenter
        The model, which is not changed.
    target : ndarray of float32, shape (C,)
        Feature of the target.
    weights : ndarray of float32, shape (M,), or None
        Weights of the model's candidates (PerSAM-F), or None (PerSAM).
    guided : bool
        Whether the first pass of PerSAM guides the attention; PerSAM-F does not.
    """

    model: Segmenter
    target: NDArray[np.float32]
    weights: NDArray[np.float32] | None
    guided: bool

    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """Encode an image once for several calls: each method takes the result in the place of the image.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            RGB, of any size. The longer side is scaled to the model's input.

        Returns
        -------
        EncodedImage

        Raises
        ------
        OptionError
            If the image is not uint8 RGB.
        """
        return encode_image(self.model, image)

    def similarity(self, image: NDArray[np.uint8] | EncodedImage) -> NDArray[np.float32]:
        """Return the cosine similarity of each pixel of an image to the target.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3), or EncodedImage
            RGB, of any size.

        Returns
        -------
        ndarray of float32, shape (H, W)
            From -1 to 1.

        Raises
        ------
        OptionError
            If the image is not uint8 RGB.
        """
        return similarity_map(self._encoded(image), self.target)

    @check_types
    def clicks(
        self,
        image: NDArray[np.uint8] | EncodedImage,
        *,
        count: int = 100,
        min_distance_px: float | None = None,
        min_similarity: float = -1.0,
        valid: NDArray[np.bool_] | None = None,
    ) -> Clicks:
        """Return clicks on many places of an image that are similar to the target, for `segment`.

        PerSAM expects one object an image, and takes the most similar pixel. This function returns the local peaks of the
        similarity, of which that pixel is the first.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3), or EncodedImage
            RGB, such as a window of a raster.
        count : int, default 100
            Most clicks that are returned.
        min_distance_px : float, optional
            A peak is the highest place among the pixels so near to it, in pixels of the image. By default one cell of the
            model's features: 16 pixels of the input of SAM 1.
        min_similarity : float, default -1.0
            Lower peaks are left out. Which similarity tells an object from others depends on the model and the images.
        valid : ndarray of bool, shape (H, W), optional
            Where the image has data; by default everywhere.

        Returns
        -------
        Clicks

        Raises
        ------
        OptionError
            If the image is not uint8 RGB, or another argument is not as described.
        """
        encoded = self._encoded(image)
        if min_distance_px is None:
            min_distance_px = max(encoded.shape) / encoded.features.shape[0]
        return similarity_peaks(
            similarity_map(encoded, self.target),
            count=count,
            min_distance_px=min_distance_px,
            min_similarity=min_similarity,
            valid=valid,
        )

    @check_types
    def segment(
        self, image: NDArray[np.uint8] | EncodedImage, clicks: Clicks | None = None, *, max_iou: float = 0.5
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Segment the object of an image that is most similar to the target, or the objects under clicks.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3), or EncodedImage
            RGB, of any size.
        clicks : Clicks, optional
            From `clicks`. By default the most similar place, as in the paper.
        max_iou : float, default 0.5
            Of two masks with a higher IoU the one with the lower score is left out, because both are the same object.

        Returns
        -------
        masks : ndarray of bool, shape (K, H, W)
            By falling score. Empty masks are left out, so that ``K`` may be smaller than the number of clicks.
        scores : ndarray of float32, shape (K,)
            Predicted IoU of each mask.

        Raises
        ------
        OptionError
            If the image is not uint8 RGB, the model's attention cannot be guided, or ``max_iou`` is not from 0 to 1.
        """
        encoded = self._encoded(image)
        masks, scores = self.masks(encoded, clicks, max_iou=max_iou)
        height, width = encoded.shape
        frame = Rect(0, 0, width, height)
        arrays = [mask.to_array(frame) for mask in masks]
        return np.array(arrays, np.bool_).reshape(-1, height, width), scores

    @check_types
    def masks(
        self, image: NDArray[np.uint8] | EncodedImage, clicks: Clicks | None = None, *, max_iou: float = 0.5
    ) -> tuple[tuple[Mask, ...], NDArray[np.float32]]:
        """Segment as `segment` does, and return the masks as runs, which take little memory."""
        if not 0 <= max_iou <= 1:
            raise OptionError(f"max_iou is {max_iou}; give an IoU from 0 to 1.")
        encoded = self._encoded(image)
        similarity = similarity_map(encoded, self.target)
        places = similarity_peaks(similarity) if clicks is None else clicks
        if not len(places.points_px):
            return (), np.empty(0, np.float32)
        if self.weights is not None:
            last = follow_persam_f(self.model, encoded, places, self.weights)[-1]
        else:
            target = self.target if self.guided else None
            last = follow_persam(self.model, encoded, places, similarity=similarity, target=target)[-1]
        index, found = masks_of(last.logits, encoded)
        scores = last.predicted_iou[index]
        order = np.argsort(-scores, kind="stable")
        ranked = [found[place] for place in order]
        kept = keep_greedily(len(ranked), *nearly_equal(ranked, max_iou))
        return tuple(ranked[place] for place in kept), scores[order][kept]

    def _encoded(self, image: NDArray[np.uint8] | EncodedImage) -> EncodedImage:
        return image if isinstance(image, EncodedImage) else self.encode(image)


@check_types
def personalize(
    model: str | Path | Segmenter,
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    *,
    learn_weights: bool = False,
    guided: bool = True,
    steps: int = 1000,
    learning_rate: float = 1e-3,
    mask_level: int = 255,
) -> Personalized:
    """Personalize a model for the kind of object that one mask shows, with PerSAM or PerSAM-F.

    Both look for the place of another image whose features are most similar to those in the mask, click there, and give the
    answer back to the model twice. PerSAM clicks on the least similar place as background too, and guides the attention of the
    first pass. PerSAM-F learns from the example how the model's candidates (part, object, group) are to be weighted.

    Parameters
    ----------
    model : str, Path or Segmenter
        A model, or what `samgeo.load_model` takes. It must have features (`samgeo.models.Describing`). PerSAM with guided
        attention needs a SAM 1 model.
    image : ndarray of uint8, shape (H, W, 3)
        RGB, of any size. The longer side is scaled to the model's input, so an image that is cut closely around a small object
        gives more cells to it. In PerSAM, guidance is exact for square images only; see `attention_bias`.
    mask : ndarray of bool or integers, shape (H, W)
        Other values than 0 are the object.
    learn_weights : bool, default False
        False is PerSAM, True is PerSAM-F.
    guided : bool, default True
        Whether PerSAM guides the attention. Without it every model can be used. For the bundled model, prefer PerSAM-F: on
        generated discs its masks were nearly exact, and those of PerSAM without guidance were poor.
    steps : int, default 1000
        Steps in which PerSAM-F learns.
    learning_rate : float, default 1e-3
        Learning rate of PerSAM-F.
    mask_level : int, default 255
        Grey level at which the mask is drawn for the published rule that says which cells are in it, from 124 to 255. With 255,
        cells count that are about half in the mask; with 128, the level of the masks published with PerSAM, only whole ones.

    Returns
    -------
    Personalized

    Raises
    ------
    OptionError
        If the image is not uint8 RGB, the mask does not fit it or fills no cell of the model's features, or the model has no
        features or no attention that can be guided.
    ModelError
        If the model cannot be loaded.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.finding.persam import personalize
    >>> rows, columns = np.mgrid[:128, :128]
    >>> def discs(*centres):
    ...     return np.any([np.hypot(rows - y, columns - x) < 16 for y, x in centres], axis=0)
    >>> def picture(mask):
    ...     return np.where(mask[..., None], np.uint8([230, 60, 40]), np.uint8([60, 120, 60]))
    >>> example = discs((64, 64))
    >>> reds = personalize("tiny", picture(example), example, learn_weights=True, steps=100)
    >>> masks, scores = reds.segment(picture(discs((40, 80))))
    >>> masks.shape, bool(masks[0, 40, 80])
    ((1, 128, 128), True)
    """
    loaded = load_model(model)
    if guided and not learn_weights and not isinstance(loaded, Guiding):
        raise OptionError(
            f"the attention of the model {loaded.name} cannot be guided; take a SAM 1 model, or give learn_weights=True "
            "(PerSAM-F) or guided=False."
        )
    encoded = encode_image(loaded, image)
    cells = cells_of_mask(mask, encoded, mask_level=mask_level)
    target = target_feature(encoded.features, cells, with_maximum=learn_weights)
    weights = None
    if learn_weights:
        place = similarity_peaks(similarity_map(encoded, target))
        candidates = to_image(first_candidates(loaded, encoded, place), encoded)[0]
        weights = learn_mask_weights(candidates, np.asarray(mask) != 0, steps=steps, learning_rate=learning_rate)
    return Personalized(loaded, target, weights, guided and not learn_weights)
