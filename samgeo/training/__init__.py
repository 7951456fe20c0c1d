"""Training and assessment of promptable models, and training of finders.

The input is a recipe, a TOML file that names images and labels. The outputs are weights, a log and a report.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
