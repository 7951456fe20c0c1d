from .personalize import Personalized as Personalized
from .personalize import personalize as personalize
from .similarity import Clicks as Clicks
from .similarity import EncodedImage as EncodedImage
from .similarity import similarity_peaks as similarity_peaks

__all__ = ["Clicks", "EncodedImage", "Personalized", "personalize", "similarity_peaks"]
