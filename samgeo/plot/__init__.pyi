from .display import show as show

__all__ = ["show"]
