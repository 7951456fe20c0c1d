from .oriented_boxes import to_rbox as to_rbox
from .oriented_boxes import to_xywha as to_xywha
from .reading import READABLE as READABLE
from .reading import read_annotations as read_annotations
from .table import Annotations as Annotations
from .table import Image as Image
from .writing import WRITABLE as WRITABLE
from .writing import write_annotations as write_annotations

__all__ = ["READABLE", "WRITABLE", "Annotations", "Image", "read_annotations", "to_rbox", "to_xywha", "write_annotations"]
