"""SAM 2 with its memory, which follows an object through images of several dates, by ``Sam2VideoModel`` of transformers.

The network is that of transformers; images and prompts are prepared here, so that torchvision is not needed. An object is
prompted at one date. At each further date the image features attend to the memories of the dates before, and the mask is
drawn without a prompt. Later dates are followed first, then earlier ones, with one session of transformers for each object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samgeo.errors import OptionError
from samgeo.models.batching import explain_no_memory
from samgeo.models.device import sent, typed_digest
from samgeo.models.preprocessing import normalise, squares

if TYPE_CHECKING:
    from transformers import Sam2VideoModel

__all__ = ["BOX_LABELS", "DateFeatures", "FollowedObject", "MemoryAnswer", "MemoryPrompt", "Sam2Memory"]

# Labels of the two corners of a box among the points of a prompt.
BOX_LABELS = (2, 3)
# What transformers keeps of a date, besides the memory and the pointer: masks, which no later date needs.
MASKS = ("pred_masks", "high_res_masks")
MEMORY = ("maskmem_features", "maskmem_pos_enc")


@dataclass(frozen=True, slots=True, eq=False)
class MemoryPrompt:
    """What shows an object at its date: points, or a mask.

    Attributes
    ----------
    points : ndarray of float32, shape (N, 2)
        x and y in pixels of the model's input, continuous: the centre of the first pixel is (0.5, 0.5). None if there is a
        mask.
    labels : ndarray of int64, shape (N,)
        1 foreground, 0 background; the corners of a box have `BOX_LABELS`. None if there is a mask.
    mask : ndarray of bool, shape (S, S), optional
        The object in the model's input. The model takes it as it is.
    """

    points: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DateFeatures:
    """The image features of one date, which all objects of a window share.

    Attributes
    ----------
    maps : list of tensor
        The maps at strides of 4, 8 and 16 pixels, as transformers keeps them: shape (h * w, 1, channels).
    positions : list of tensor
        Their encoded positions.
    """

    maps: list[Tensor]
    positions: list[Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class MemoryAnswer:
    """An object at one date.

    Attributes
    ----------
    logits : tensor of float32, shape (h, w)
        Logits of the mask over the model's input. At the date of a mask prompt they have the resolution of the input.
    score : float
        Object score, a logit: above 0 the object is present. If it is absent, the logits are -1024 everywhere.
    """

    logits: Tensor
    score: float

    @property
    def is_present(self) -> bool:
        """Whether the model says that the object is present."""
        return self.score > 0


class Sam2Memory:
    """SAM 2 or SAM 2.1 with its memory, on any device.

    It holds no state between calls; `follow` makes what has state.

    Parameters
    ----------
    network : Sam2VideoModel
        The model of transformers with its weights, in float32. It is moved and converted in place.
    name : str
        Name of the model, for provenance.
    digest : str
        Digest of the weights. In bfloat16 the name of the type is appended to it, because rounding changes the weights.
    device : torch.device, default cpu
        Where to run.
    dtype : torch.dtype, default torch.float32
        Type in which the image encoder computes. The memory and the decoder are always float32.
    """

    def __init__(
        self,
        network: Sam2VideoModel,
        *,
        name: str,
        digest: str,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name = name
        self.digest = typed_digest(digest, dtype)
        self.device = device or torch.device("cpu")
        self.dtype = dtype
        untyped: Any = network
        self.network = untyped.to(self.device).eval().requires_grad_(requires_grad=False)
        self.network.vision_encoder.to(dtype)
        self.input_size = int(self.network.config.image_size)

    @property
    def reach(self) -> int:
        """Number of dates, with the current one, from which the model reads memories or pointers."""
        return max(int(self.network.num_maskmem), int(self.network.config.max_object_pointers_in_encoder))

    @explain_no_memory
    @torch.inference_mode()
    def encode(self, image: NDArray[np.uint8], size: tuple[int, int]) -> DateFeatures:
        """Encode the image of one date.

        Parameters
        ----------
        image : ndarray of uint8, shape (S, S, 3)
            RGB.
        size : (int, int)
            True height and width of the image, which lies in the top left corner; the rest is padding.

        Raises
        ------
        OptionError
            If the array has another type or shape.
        """
        pixels, true = squares(image[None], np.array([size]), side=self.input_size, model=self.name)
        normal = normalise(sent(pixels, self.device), None if true is None else true.to(self.device))
        found = self.network.vision_encoder(normal.to(self.dtype).contiguous(), return_dict=True)
        decoder = self.network.mask_decoder
        quarters, eighths, coarse = (one.float() for one in found.fpn_hidden_states)
        maps = (decoder.conv_s0(quarters), decoder.conv_s1(eighths), coarse)
        return DateFeatures(
            [one.flatten(2).permute(2, 0, 1) for one in maps],
            [one.float().flatten(2).permute(2, 0, 1) for one in found.fpn_position_encoding],
        )

    def follow(self, dates: int, date: int, prompt: MemoryPrompt) -> FollowedObject:
        """Start to follow an object.

        Parameters
        ----------
        dates : int
            Number of dates of the series.
        date : int
            Number of the date at which the object is prompted, from 0.
        prompt : MemoryPrompt
            What shows it.
        """
        return FollowedObject(self, dates, date, prompt)


class FollowedObject:
    """An object whose memories grow from date to date; made by `Sam2Memory.follow`.

    Parameters
    ----------
    model : Sam2Memory
        The model.
    dates, date, prompt
        As in `Sam2Memory.follow`.
    """

    def __init__(self, model: Sam2Memory, dates: int, date: int, prompt: MemoryPrompt) -> None:
        from transformers import Sam2VideoInferenceSession

        self.name, self.device, self.date = model.name, model.device, date
        self._network, self._reach = model.network, model.reach
        self._is_mask = prompt.mask is not None
        session: Any = Sam2VideoInferenceSession(
            inference_device=model.device,
            inference_state_device=model.device,
            video_storage_device=model.device,
            dtype=torch.float32,
        )
        # The session must know the number of dates. Their features are given to it, so that it needs no image.
        session.processed_frames = dict.fromkeys(range(dates))
        number = session.obj_id_to_idx(0)
        if prompt.mask is not None:
            session.add_mask_inputs(number, date, torch.from_numpy(prompt.mask)[None, None].float())
        elif prompt.points is not None and prompt.labels is not None:
            # The model of transformers adds the half pixel to the centre itself.
            points = torch.from_numpy(prompt.points - np.float32(0.5))[None, None]
            session.add_point_inputs(
                number, date, {"point_coords": points, "point_labels": torch.from_numpy(prompt.labels)[None, None]}
            )
        else:
            raise OptionError("a prompt has neither points nor a mask; give one of them.")
        session.obj_with_new_inputs = [0]
        self._session = session

    @explain_no_memory
    @torch.inference_mode()
    def answer(self, date: int, features: DateFeatures, *, backwards: bool = False) -> MemoryAnswer:
        """Return the object at a date, and keep its memory.

        The date of the prompt must be the first. Then come the later dates in ascending order, and then the earlier ones in
        descending order with ``backwards``, which see the memories of the later ones too. Dates may be left out.

        Parameters
        ----------
        date : int
            Number of the date.
        features : DateFeatures
            The features of its image.
        backwards : bool, default False
            Whether dates are followed backwards.
        """
        session, is_prompted = self._session, date == self.date
        session.cache.cache_vision_features(date, {"vision_feats": features.maps, "vision_pos_embeds": features.positions})
        found = self._network(inference_session=session, frame_idx=date, reverse=backwards)
        session.cache.clear_all()
        kept = session.output_dict_per_obj[0]["cond_frame_outputs" if is_prompted else "non_cond_frame_outputs"][date]
        logits = kept["high_res_masks"] if is_prompted and self._is_mask else found.pred_masks
        score = float(found.object_score_logits.reshape(()))
        for name in MASKS:
            del kept[name]
        self._forget(date, backwards=backwards)
        return MemoryAnswer(logits[0, 0].float().clone(), score)

    def _forget(self, date: int, *, backwards: bool) -> None:
        """Remove what no later call reads. The way back starts beside the date of the prompt, so its surroundings are kept."""
        others = self._session.output_dict_per_obj[0]["non_cond_frame_outputs"]

        def is_near(other: int, reach: int) -> bool:
            return abs(other - date) < reach or (not backwards and other - self.date < reach)

        for other in list(others):
            if not is_near(other, self._reach):
                del others[other]
            elif not is_near(other, self._network.num_maskmem):
                for name in MEMORY:
                    others[other].pop(name, None)
