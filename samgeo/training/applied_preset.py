"""Application of a training preset to a network: new layers are added, and the trained parameters are chosen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.training.data.crop_cache import trains_encoder
from samgeo.training.loop import TrainOptions
from samgeo.training.low_rank import add_low_rank, linear_layers, merge_low_rank
from samgeo.training.network_kinds import to_train
from samgeo.training.presets import TRAINING_PRESETS, TrainingPreset, training_preset

__all__ = ["AppliedPreset", "apply_preset"]

DEFAULT_RANK = 4
# The bias of a key adds the same number to a row of a softmax and changes nothing. It gets a gradient of rounding errors, which
# AdamW would enlarge to whole steps.
IDLE = (".key.bias", ".k_proj.bias")
# The layer of the image encoders of SAM 1 and SAM 2 in which the query, the key and the value of an attention are fused.
QKV = ".attn.qkv"
# Names of parameters that are made for a preset.
LOW_RANK = (".parametrizations.weight.0.a", ".parametrizations.weight.0.b")
ADAPTER = re.compile(r"image_encoder\.(adapter|blocks\.\d+\.(attn|mlp)_adapter)\.")


@dataclass(frozen=True, slots=True, eq=False)
class AppliedPreset:
    """A network that a preset was applied to.

    Attributes
    ----------
    preset : TrainingPreset
        The preset.
    network : torch.nn.Module
        The network. All its parameters are frozen but those that the preset trains.
    rates : mapping of str to float
        ``TrainOptions.rates``: 1 for every trained parameter, by its whole name, and 0 for all others.
    rank : int or None
        Rank of the low-rank changes; None for presets without them.
    cached_crops : int
        Number of crops whose embeddings are kept, unless the caller decides about it; see `TrainOptions`. It is 0 if the image
        encoder is trained, and for the bundled architecture, whose crops are encoded quickly.
    """

    preset: TrainingPreset
    network: nn.Module
    rates: Mapping[str, float]
    rank: int | None
    cached_crops: int = 0

    @property
    def trained(self) -> tuple[str, ...]:
        """The names of the trained parameters."""
        return tuple(name for name, rate in self.rates.items() if rate > 0)

    @check_types
    def train_options(
        self, steps: int, *, images: int = 1, crops: Sequence[tuple[int, int, float]] | None = None, seed: int = 0
    ) -> TrainOptions:
        """Return options of `samgeo.training.train` with the rates, losses and prompts of the preset.

        Parameters
        ----------
        steps : int
            Number of optimiser steps.
        images : int, default 1
            Number of crops in a step.
        crops : sequence of (side, prompts, odds), optional
            Kinds of crops; see `TrainOptions`, which has the default.
        seed : int, default 0
            Seed of all random choices.

        Returns
        -------
        TrainOptions
            ``dataclasses.replace`` changes further options.
        """
        kinds = TrainOptions(steps).crops if crops is None else tuple(crops)
        return TrainOptions(
            steps,
            images=images,
            crops=kinds,
            rate=self.preset.rate,
            warm_up=self.preset.warm_up,
            rates=self.rates,
            seed=seed,
            losses=self.preset.losses,
            course=self.preset.course,
        )

    @check_types
    def merge(self, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Put trained weights into the network, and merge its low-rank changes into the weights of the layers.

        Afterwards the network has the parameters that it had before `apply_preset`, with other values. Adapters stay.

        Parameters
        ----------
        weights : mapping of str to tensor, optional
            What `samgeo.training.train` returned for this network. By default, the present weights of the network are merged.

        Returns
        -------
        dict of str to tensor
            The ``state_dict()`` of the network, on the CPU.
        """
        if weights is not None:
            self.network.load_state_dict(dict(weights))
        merge_low_rank(self.network)
        return {name: tensor.detach().cpu() for name, tensor in self.network.state_dict().items()}


@check_types
def apply_preset(
    network: nn.Module,
    preset: str | TrainingPreset,
    *,
    rank: int | None = None,
    targets: Iterable[str] | None = None,
    train_iou: bool | None = None,
    seed: int = 0,
) -> AppliedPreset:
    """Prepare a network for training with a preset.

    The network is changed in place: parameters that are not trained are frozen, and low-rank changes are added to its layers.
    They are zero at first, so that every answer is the same as before.

    Parameters
    ----------
    network : torch.nn.Module
        What `samgeo.training.trainable_network` returns: a network of the architecture of the bundled model, of SAM 1 or of
        SAM 2.
    preset : str or TrainingPreset
        The preset, or its name: a key of ``TRAINING_PRESETS``.
    rank : int, default 4
        Rank of the low-rank changes, for the preset "lora" only.
    targets : iterable of str, optional
        Names of the parts of the network whose layers get low-rank changes, for the preset "lora" only, such as
        ``["upscaler"]``. By default they are those of the preset.
    train_iou : bool, optional
        Whether the heads that predict the IoU are trained too. The default depends on the preset.
    seed : int, default 0
        Seed of the random weights of new layers.

    Returns
    -------
    AppliedPreset

    Raises
    ------
    OptionError
        If the preset is unknown or not for this network, or an option does not fit the preset.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.models.tiny import save_tiny
    >>> from samgeo.training import apply_preset, trainable_network
    >>> network = trainable_network(samgeo.load_model("tiny", device="cpu"))
    >>> applied = apply_preset(network, "lora", rank=4)
    >>> options = applied.train_options(40, crops=[(320, 10, 1.0)])
    >>> len(options.rates) > 1, options.rate
    (True, 0.001)

    ``weights = samgeo.training.train(network, sources, folder, options)`` trains the network. The result is merged and saved:

    >>> weights = network.state_dict()
    >>> digest = save_tiny(applied.merge(weights), network.config, "place.safetensors")
    """
    chosen = training_preset(preset) if isinstance(preset, str) else preset
    given = to_train(network)
    kind = given.kind
    if kind not in chosen.trained:
        others = [name for name, one in TRAINING_PRESETS.items() if kind in one.trained]
        raise OptionError(f"the preset {chosen.name!r} is not for a {type(network).__name__}; give one of {', '.join(others)}.")
    low_rank = _low_rank_layers(network, chosen, kind, targets)
    if not chosen.low_rank and rank is not None:
        raise OptionError(f"rank is {rank}, but the preset {chosen.name!r} has no low-rank changes; leave rank out.")
    with_iou = chosen.trains_iou if train_iou is None else train_iou
    fixed = given.unused if with_iou else (*given.unused, *given.iou_heads)
    if chosen.low_rank:
        rank = DEFAULT_RANK if rank is None else rank
        if rank < 1:
            raise OptionError(f"rank is {rank}; give 1 or more.")
        changed = {name: layer for name, layer in low_rank.items() if not f"{name}.".startswith(fixed)}
        add_low_rank(((layer, *_fused(name)) for name, layer in changed.items()), rank, seed=seed)
    if chosen.adapter is not None:
        given.add_adapters(chosen.adapter, seed)
    trained = [name for name in _named(network, chosen, kind) if not name.startswith(fixed) and not name.endswith(IDLE)]
    rates = {"": 0.0, **dict.fromkeys(trained, 1.0)}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in rates)
    cached = 0 if trains_encoder(network) else min(chosen.cached_crops, given.max_cached_crops)
    return AppliedPreset(chosen, network, rates, rank, cached)


def _low_rank_layers(
    network: nn.Module, preset: TrainingPreset, kind: str, targets: Iterable[str] | None
) -> dict[str, nn.Linear]:
    """Return the layers that get low-rank changes, by name."""
    if not preset.low_rank:
        if targets is not None:
            raise OptionError(f"the preset {preset.name!r} has no low-rank changes; leave targets out.")
        return {}
    beginnings = preset.low_rank[kind]
    if targets is not None:
        beginnings = tuple(f"{target.removesuffix('.')}." for target in targets)
        known = {name for name, _ in network.named_modules()}
        wrong = [beginning for beginning in beginnings if not linear_layers(network, [beginning])]
        if wrong or not beginnings:
            parts = ", ".join(name for name, _ in network.named_children())
            missing = wrong[0].removesuffix(".") if wrong else "nothing"
            reason = "is no part of the network with linear layers" if missing not in known else "has no linear layers"
            raise OptionError(f"targets has {missing}, which {reason}; give parts such as {parts}.")
    found = linear_layers(network, beginnings)
    return {name: layer for name, layer in found.items() if not name.startswith("image_encoder.") or name.endswith(QKV)}


def _fused(name: str) -> tuple[int, tuple[int, ...]]:
    """Return how many layers are fused in a layer, and the numbers of those that are changed."""
    return (3, (0, 2)) if name.endswith(QKV) else (1, (0,))


def _named(network: nn.Module, preset: TrainingPreset, kind: str) -> list[str]:
    """Return the names of the parameters that a preset names, in the order of the network."""
    norms = {name for name, part in network.named_modules() if isinstance(part, nn.LayerNorm)}

    def is_named(name: str) -> bool:
        if name.endswith(LOW_RANK) or (preset.adapter is not None and ADAPTER.match(name)):
            return True
        if preset.only_biases_and_norms and not (name.endswith("bias") or name.rpartition(".")[0] in norms):
            return False
        return name.startswith(preset.trained[kind])

    return [name for name, _ in network.named_parameters() if is_named(name)]
