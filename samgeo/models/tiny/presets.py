"""Named sizes of the bundled network's image encoder, each of which the package can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from samgeo.arguments import check_types
from samgeo.errors import OptionError

__all__ = ["PRESETS", "NetworkPreset", "network_preset"]


@dataclass(frozen=True, slots=True)
class NetworkPreset:
    """How many blocks the image encoder has; see `samgeo.models.tiny.network.TinyConfig`.

    Attributes
    ----------
    attend : (int, int)
        Attention blocks at strides 32 and 16.
    deepen : (int, int, int)
        Convolution blocks at strides 16, 8 and 4.
    """

    attend: tuple[int, int]
    deepen: tuple[int, int, int]


# Megabytes of weights in half precision, at most 12 so that the package stays small.
PRESETS: Mapping[str, NetworkPreset] = MappingProxyType(
    {
        "base": NetworkPreset((1, 1), (1, 1, 1)),  # 8.7: the packaged weights
        "deep": NetworkPreset((1, 3), (3, 3, 2)),  # 10.2
        "deeper": NetworkPreset((1, 6), (3, 3, 3)),  # 11.4
        "context": NetworkPreset((2, 1), (2, 2, 2)),  # 11.5
    }
)


@check_types
def network_preset(name: str) -> NetworkPreset:
    """Return the sizes that a name stands for.

    Raises
    ------
    OptionError
        If there is no such name.

    Examples
    --------
    >>> from samgeo.models.tiny import PRESETS, network_preset
    >>> sorted(PRESETS)
    ['base', 'context', 'deep', 'deeper']
    >>> network_preset("base").attend
    (1, 1)
    """
    if name not in PRESETS:
        raise OptionError(f"there is no network {name!r}; give one of {', '.join(PRESETS)}.")
    return PRESETS[name]
