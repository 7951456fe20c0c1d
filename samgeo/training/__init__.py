"""Training of promptable models, and their judgement.

A recipe, which names images and labels, enters; weights, a log and a report leave.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
