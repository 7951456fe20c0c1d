"""What the tests of compiled functions share: results with and without the library, and how alike they are."""

import pytest
import torch

from samgeo.models.compiled import library

needs_library = pytest.mark.skipif(library.library() is None, reason="samgeo was installed without its compiled functions")


def by_torch(monkeypatch, work):
    """What a function returns without the compiled library."""
    with monkeypatch.context() as patched:
        patched.setattr(library, "library", lambda: None)
        with torch.inference_mode():
            assert not library.usable(torch.zeros(1))
        return work()


def same(one, other):
    return one.shape == other.shape and torch.linalg.vector_norm(one - other) < 3e-6 * torch.linalg.vector_norm(other)
