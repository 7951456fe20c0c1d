"""Promptable models: their protocols, names, weights and implementations.

`load_model` takes a name, a checkpoint file or a model and returns a `Segmenter`, which encodes windows and decodes prompts.
PyTorch is imported when the first model is loaded.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
