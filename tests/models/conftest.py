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


@pytest.fixture
def one_thread_without_gradients():
    """Begin with one thread, and restore the number that there was, whatever the test sets."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def random():
    """A function that returns random numbers of a shape, the same in every run."""
    generator = torch.Generator().manual_seed(5)
    return lambda *shape: torch.randn(*shape, generator=generator)
