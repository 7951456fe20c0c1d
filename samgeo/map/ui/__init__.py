"""The controls of the map, and what gestures and keys mean.

The package turns mouse gestures and keys of the browser into actions of the session, and shows messages.
"""
