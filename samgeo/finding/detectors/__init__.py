"""Object detectors as prompt sources: a detector gives boxes in each window, and the model draws the object of each box.

The pixels of a window enter, and boxes with scores and classes leave, in some cases with masks. A detector is a network in an
ONNX file, a function, or any class that fits the protocol `samgeo.finding.Detector`.
"""
