"""Fine-tuning of a model on a few outlines of one place. An image and its outlines enter; weights and a report leave.

A part of the outlines is held out by space. The trained weights are kept only if they answer prompts for these better.
"""
