"""Pictures with objects, and training examples drawn from them.

The input is images and labels in many formats. The output is crops with masks and simulated prompts.
"""
