"""How the parts of a generated town are painted.

Buildings, ground, traffic and plants with their places enter; colours, heights and slopes of sub-pixels leave, lit by one sun.
"""
