"""Models of the library transformers: the class of a model, and its weights from a folder on this machine.

The folder has ``config.json`` and ``model.safetensors``. No other file of weights is read, so that no code in a file is run.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from samgeo.errors import CheckpointError, ModelError

__all__ = ["load_pretrained", "quiet_transformers", "require_class"]

_quieting = threading.Lock()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from writing progress bars and notes to standard error; its settings are restored afterwards.

    The bars would be shown without a progress bar of samgeo, and the notes are for programmers. What matters is an error here.
    """
    from transformers.utils import logging as noise

    with _quieting:
        level, bars = noise.get_verbosity(), noise.is_progress_bar_enabled()
        noise.set_verbosity_error()
        noise.disable_progress_bar()
        try:
            yield
        finally:
            noise.set_verbosity(level)
            if bars:
                noise.enable_progress_bar()


def require_class(name: str, what: str, wanted: tuple[int, int]) -> Any:  # noqa: ANN401 - transformers' classes have no types
    """Return a class of transformers.

    Parameters
    ----------
    name : str
        Name of the class.
    what : str
        The model, for messages.
    wanted : (int, int)
        The first version of transformers that has the model.

    Raises
    ------
    ModelError
        If transformers is missing or too old.
    """
    since = ".".join(map(str, wanted))
    install = f"Install it with: pip install 'transformers>={since}'"
    try:
        import transformers
    except ImportError:
        raise ModelError(
            f"{what} needs the library transformers {since} or newer, which is not installed. {install}, or pip install "
            "'samgeo[hf]'."
        ) from None
    found = tuple(map(int, re.findall(r"\d+", transformers.__version__)[:2]))
    if found < wanted:
        raise ModelError(
            f"{what} needs the library transformers {since} or newer, and {transformers.__version__} is installed. {install}."
        )
    return getattr(transformers, name)


def load_pretrained(kind: Any, file: Path, what: str, advice: str) -> Any:  # noqa: ANN401 - transformers' classes have no types
    """Return a model in float32 with all its weights.

    Parameters
    ----------
    kind : type
        The class, from `require_class`.
    file : Path
        ``model.safetensors`` in the folder of the model.
    what : str
        The model, for messages.
    advice : str
        What to give if tensors are missing, as a sentence.

    Raises
    ------
    CheckpointError
        If transformers cannot load the folder, a tensor is missing, or a value is not finite.
    """
    try:
        with quiet_transformers():
            network, told = kind.from_pretrained(
                file.parent, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise CheckpointError(
            f"{file}: transformers cannot load this as {what} ({first}). Download the repository again."
        ) from None
    missing = sorted(told["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{file}: {len(missing)} tensors are missing, such as {missing[0]}: this is not a complete {what}. {advice}"
        )
    infinite = next((key for key, tensor in network.state_dict().items() if not tensor.isfinite().all()), None)
    if infinite is not None:
        raise CheckpointError(
            f"{file}: tensor {infinite} holds values that are not finite: the training diverged or the file is damaged."
        )
    return network
