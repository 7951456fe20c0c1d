"""Promptable models: the door to them in ``segmenter``, names in ``registry``; torch is loaded with the first model."""
