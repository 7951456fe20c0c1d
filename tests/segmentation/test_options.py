"""Functions that share options of segmentation have the names and defaults of the option groups."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import pytest

import samgeo
from samgeo.samrs import make_samrs
from samgeo.segmentation.options import (
    AutomaticOptions,
    CleaningOptions,
    ExecutionOptions,
    ModelOptions,
    ObjectOptions,
    OptionGroup,
    OutputOptions,
    ReadingOptions,
    WindowOptions,
)

GROUPS: dict[type[OptionGroup], dict[str, Any]] = {
    group: {one.name: one.default for one in fields(group)}
    for group in (
        *(AutomaticOptions, CleaningOptions, ExecutionOptions, ModelOptions, ObjectOptions),
        *(OutputOptions, ReadingOptions, WindowOptions),
    )
}
FUNCTIONS = [samgeo.segment, samgeo.predict, samgeo.Predictor, samgeo.encode, samgeo.footprints, make_samrs]


def defaults(function: Any) -> dict[str, Any]:
    return {name: one.default for name, one in inspect.signature(function).parameters.items()}


def test_each_option_of_segment_is_in_one_group() -> None:
    grouped = [name for options in GROUPS.values() for name in options]
    # The zoom is in no group, because that of a finder, in footprints, follows from the resolution by default. prompts_from is
    # an option of segment alone.
    assert sorted(grouped) == sorted(set(defaults(samgeo.segment)) - {"image", "output", "zoom", "prompts_from"})
    assert {defaults(function)["zoom"] for function in (samgeo.segment, samgeo.predict, samgeo.Predictor)} == {1.0}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_shared_options_have_the_same_defaults_in_every_function(function: Any) -> None:
    shared = {name: value for options in GROUPS.values() for name, value in options.items()}
    own = defaults(function)
    if function in (samgeo.predict, samgeo.Predictor):
        # The scale of a prompt is chosen for each object, and a click that fits into a window does not depend on it.
        assert own.pop("scales") == "auto"
    assert len(own.keys() & shared.keys()) >= 11
    assert {name: own[name] for name in shared if name in own} == {name: shared[name] for name in shared if name in own}


def test_a_group_takes_its_own_arguments_and_keeps_other_defaults() -> None:
    found = WindowOptions.of({"image": "a.tif", "window": 64, "min_part": 3.0})
    assert found == WindowOptions(window=64)
    assert found.arguments() == {"window": 64, "overlap": None, "cache": None}
    assert CleaningOptions.of({"image": "a.tif", "window": 64, "min_part": 3.0}) == CleaningOptions(min_part=3.0)
