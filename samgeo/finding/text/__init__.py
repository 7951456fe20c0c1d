"""Detectors whose classes are phrases: Grounding DINO, OWLv2 and SAM 3, loaded through transformers.

The name of a model, or a folder with its files, and some phrases enter. A detector leaves, which gives boxes of the objects
that the phrases describe in the image of one window, and in the case of SAM 3 masks. `samgeo.finding.load_text_finder` makes a
prompt source of it.
"""
