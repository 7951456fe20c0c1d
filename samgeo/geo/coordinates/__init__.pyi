from .overlay import read_onto as read_onto

__all__ = [
    "read_onto",
]
