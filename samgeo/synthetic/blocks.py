"""What stands in each kind of block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from samgeo.synthetic.estates import apartments, field, industry, park
from samgeo.synthetic.homes import courtyard, detached, mixed, terrace
from samgeo.synthetic.lot import Lot
from samgeo.synthetic.plan import TownPlan
from samgeo.synthetic.streets import CityBlock

__all__ = ["furnish"]

_ZONES: dict[str, Callable[[Lot], None]] = {
    "apartments": apartments,
    "courtyard": courtyard,
    "detached": detached,
    "field": field,
    "industry": industry,
    "mixed": mixed,
    "park": park,
    "terrace": terrace,
}


def furnish(block: CityBlock, plan: TownPlan, rng: np.random.Generator) -> None:
    """Add what stands in a block to the plan, by the block's zone."""
    _ZONES[block.zone](Lot(block, plan, rng))
