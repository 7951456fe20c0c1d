from .opening import open_source as open_source

__all__ = [
    "open_source",
]
