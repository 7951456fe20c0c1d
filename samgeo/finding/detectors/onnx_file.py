"""Checks of an ONNX file before a runtime loads it, and the class names and sizes that its metadata give."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from samgeo.errors import CheckpointError, OptionError
from samgeo.types import Json

__all__ = ["check_content", "class_names", "parsed", "read_names"]

# Longer texts in the metadata are not read: the names of 1,200 classes have some 30,000 characters.
MOST_CHARACTERS = 200_000
MOST_DEPTH = 16

# Numbers of the fields of ONNX messages that lead to tensors, by kind of message: field -> kind of the message in it.
MODEL, GRAPH, NODE, ATTRIBUTE, SPARSE, FUNCTION, TENSOR = range(7)
LEADS: dict[int, dict[int, int]] = {
    MODEL: {7: GRAPH, 25: FUNCTION},
    GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
    FUNCTION: {7: NODE},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    SPARSE: {1: TENSOR, 2: TENSOR},
}
TENSOR_NAME, DATA_LOCATION, GRAPH_OF_MODEL = 8, 14, 7
VARINT, FIXED_64, DELIMITED, FIXED_32 = 0, 1, 2, 5


def check_content(content: bytes, path: Path) -> None:
    """Check that a file is an ONNX model that holds all its weights.

    Raises
    ------
    CheckpointError
        If it is something else, or damaged, or some weights are in another file.
    """
    try:
        fields = {number for number, _ in _fields(memoryview(content))}
        outside = next(_external(memoryview(content), MODEL, 0), None)
    except (ValueError, IndexError):
        fields, outside = set(), None
    if GRAPH_OF_MODEL not in fields:
        raise CheckpointError(f"{path} is not an ONNX file, or it is damaged; export the detector to ONNX again.")
    if outside is not None:
        raise CheckpointError(
            f"the weights of {path} are in another file (tensor {outside!r} is external data); save the model as one file, for "
            "example with onnx.save_model(onnx.load(path), path, save_as_external_data=False)."
        )


def parsed(text: str | None) -> Json:
    """Return the value of a Python literal in the metadata; None if there is none or it is not a literal."""
    if text is None or len(text) > MOST_CHARACTERS:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def class_names(value: Json) -> tuple[str, ...] | None:
    """Return class names from a list, or from a mapping of numbers to names; None if it is neither."""
    if isinstance(value, Mapping):
        try:
            value = {int(number): name for number, name in value.items()}
        except (TypeError, ValueError):
            return None
        if sorted(value) != list(range(len(value))):
            return None
        value = [value[number] for number in range(len(value))]
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str | int | float) for name in value):
        return None
    return tuple(str(name) for name in value)


def read_names(path: Path) -> tuple[str, ...]:
    """Read class names from a file: YAML or JSON with ``names`` or ``id2label``, or text with one name in a line.

    Raises
    ------
    OptionError
        If the file cannot be read or has no names.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if len(text) > MOST_CHARACTERS:
            raise OptionError(f"the file of class names {path} has {len(text)} characters; at most {MOST_CHARACTERS} are read.")
        if path.suffix.lower() not in {".yaml", ".yml", ".json"}:
            names = class_names([line.strip() for line in text.splitlines() if line.strip()])
        else:
            value = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
            keys = ("names", "id2label")
            found = next((value[key] for key in keys if key in value), None) if isinstance(value, Mapping) else value
            names = class_names(found)
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise OptionError(f"the file of class names {path} cannot be read: {error}.") from None
    if names is None:
        raise OptionError(
            f"{path} has no class names; give a YAML or JSON file with names or id2label, numbered from 0, or a text file with "
            "one name in a line."
        )
    return names


def _external(message: memoryview, kind: int, depth: int) -> Iterator[str]:
    """Yield the names of the tensors below a message whose data are in another file."""
    if depth > MOST_DEPTH:
        raise ValueError
    if kind == TENSOR:
        fields = {number: value for number, value in _fields(message) if number in {TENSOR_NAME, DATA_LOCATION}}
        if fields.get(DATA_LOCATION) == 1:
            name = fields.get(TENSOR_NAME, b"")
            yield bytes(name).decode("utf-8", "replace") if not isinstance(name, int) else ""
        return
    leads = LEADS[kind]
    for number, value in _fields(message):
        if number in leads and not isinstance(value, int):
            yield from _external(value, leads[number], depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of the fields of a protobuf message; numbers of fixed width are left out."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        wire = key & 7
        if wire == VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
        elif wire == DELIMITED:
            length, place = _varint(message, place)
            if place + length > len(message):
                raise ValueError
            yield key >> 3, message[place : place + length]
            place += length
        elif wire in {FIXED_32, FIXED_64}:
            place += 4 if wire == FIXED_32 else 8
        else:
            raise ValueError
    if place > len(message):
        raise ValueError


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError
