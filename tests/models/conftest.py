"""What tests of models share."""

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """Keep torch from waiting for processors that other tests use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
