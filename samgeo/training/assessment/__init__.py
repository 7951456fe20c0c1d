"""Evaluation of promptable models.

The input is a model and held-out pictures. The output is mean IoU of clicks and boxes, calibration, plots and a report.
"""
