"""Small ONNX files for tests, written as protobuf messages: networks whose outputs are constants.

The messages are ModelProto, GraphProto, NodeProto, TensorProto and ValueInfoProto of onnx.proto3. A number names a field, and
each field is one of: int (varint), bytes, str, or a list of these for a repeated field.
"""

from __future__ import annotations

import numpy as np

FLOAT, INT64, HALF = 1, 7, 10
KINDS = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64, np.dtype(np.float16): HALF}


def varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def message(fields: dict) -> bytes:
    """A protobuf message with these fields."""
    content = b""
    for number, given in fields.items():
        for value in given if isinstance(given, list) else [given]:
            if isinstance(value, int):
                content += varint(number << 3) + varint(value)
            else:
                data = value.encode() if isinstance(value, str) else value
                content += varint(number << 3 | 2) + varint(len(data)) + data
    return content


def tensor(name: str, values: np.ndarray, *, external: bool = False) -> bytes:
    fields = {1: list(values.shape), 2: KINDS[values.dtype], 8: name}
    if external:
        return message(fields | {13: [message({1: "location", 2: "weights.bin"})], 14: 1})
    return message(fields | {9: values.tobytes()})


def value_info(name: str, kind: int, shape) -> bytes:
    sides = [message({2: side} if isinstance(side, str) else {1: side}) for side in shape]
    return message({1: name, 2: message({1: message({1: kind, 2: message({1: sides})})})})


def network(outputs: dict, *, shape=(1, 3, 64, 64), kind=FLOAT, inputs=(), metadata=None, external=False) -> bytes:
    """An ONNX file with an image as input, further inputs as (name, kind, shape), and constant outputs."""
    nodes = [message({1: [f"{name}_value"], 2: [name], 3: name, 4: "Identity"}) for name in outputs]
    graph = {
        1: nodes,
        2: "test",
        5: [tensor(f"{name}_value", np.ascontiguousarray(values), external=external) for name, values in outputs.items()],
        11: [value_info("images", kind, shape), *(value_info(*one) for one in inputs)],
        12: [value_info(name, KINDS[values.dtype], values.shape) for name, values in outputs.items()],
    }
    stored = [message({1: key, 2: value}) for key, value in (metadata or {}).items()]
    return message({1: 8, 7: message(graph), 8: message({2: 13}), 14: stored})


def mean_network(*, shape=(1, 3, 64, 64)) -> bytes:
    """An ONNX file whose output is a row of the layout yolov10 with the image's mean as score: (1, 1, 6)."""
    nodes = [
        message({1: ["images"], 2: ["mean"], 4: "GlobalAveragePool"}),
        message({1: ["mean", "starts", "ends", "axes"], 2: ["red"], 4: "Slice"}),
        message({1: ["red", "row"], 2: ["score"], 4: "Reshape"}),
        message({1: ["box", "score", "class"], 2: ["output0"], 4: "Concat", 5: [message({1: "axis", 3: 2, 20: 2})]}),
    ]
    constants = {
        "starts": np.array([0]),
        "ends": np.array([1]),
        "axes": np.array([1]),
        "row": np.array([1, 1, 1]),
        "box": np.array([[[0, 0, 32, 64]]], dtype=np.float32),
        "class": np.zeros((1, 1, 1), dtype=np.float32),
    }
    graph = {
        1: nodes,
        2: "test",
        5: [tensor(name, values) for name, values in constants.items()],
        11: [value_info("images", FLOAT, shape)],
        12: [value_info("output0", FLOAT, (1, 1, 6))],
    }
    return message({1: 8, 7: message(graph), 8: message({2: 13}), 14: [message({1: "names", 2: "['all']"})]})
