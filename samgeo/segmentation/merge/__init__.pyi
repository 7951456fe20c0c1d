from .merger import Piece as Piece
from .merger import Segment as Segment

__all__ = ["Piece", "Segment"]
