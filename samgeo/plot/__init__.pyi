from .colors import RGB as RGB
from .contact_sheet import SheetEntry as SheetEntry
from .contact_sheet import contact_sheet as contact_sheet
from .display import show as show
from .qgis_style import style_layer as style_layer

__all__ = [
    "RGB",
    "SheetEntry",
    "contact_sheet",
    "show",
    "style_layer",
]
