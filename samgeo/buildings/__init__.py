"""Building footprints, and objects like examples.

Candidate objects and a few examples enter; selected, filtered and regularized footprints leave, with height and population.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
