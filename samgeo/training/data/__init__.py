"""Pictures with objects, and the examples that are drawn from them for training.

Images and labels in many formats enter; crops with masks and simulated prompts leave.
"""
