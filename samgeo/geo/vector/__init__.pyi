from .joining import join_vectors as join_vectors
from .reading import read_vectors as read_vectors
from .writing import write_vectors as write_vectors

__all__ = ["join_vectors", "read_vectors", "write_vectors"]
