from .piece import Piece as Piece
from .piece import Segment as Segment

__all__ = ["Piece", "Segment"]
