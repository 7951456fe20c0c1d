"""The controls of the map, and what gestures and keys mean.

Gestures of the browser enter; actions of the session and messages leave.
"""
