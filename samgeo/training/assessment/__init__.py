"""How good a promptable model is.

A model and held-out pictures enter; mean IoU of clicks and boxes, calibration, plots and a report leave.
"""
