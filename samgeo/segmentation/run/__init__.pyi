from .stopping import stop_on_sigterm as stop_on_sigterm

__all__ = [
    "stop_on_sigterm",
]
