"""Editing of accepted objects, and prompts that need no correction.

Gestures on the map and calls of a session enter; new outlines, waiting masks and a preview leave.
"""
