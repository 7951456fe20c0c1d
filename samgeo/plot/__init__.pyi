from .colors import RGB as RGB
from .contact_sheet import SheetEntry as SheetEntry
from .contact_sheet import contact_sheet as contact_sheet
from .display import show as show

__all__ = [
    "RGB",
    "SheetEntry",
    "contact_sheet",
    "show",
]
