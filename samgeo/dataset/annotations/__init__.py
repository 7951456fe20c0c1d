"""Annotations in and out: boxes, oriented boxes, polygons and masks with their classes, in the formats of the field."""

from samgeo.dataset.annotations.reading import READABLE, read_annotations
from samgeo.dataset.annotations.table import Annotations, Image
from samgeo.dataset.annotations.writing import WRITABLE, write_annotations

__all__ = ["READABLE", "WRITABLE", "Annotations", "Image", "read_annotations", "write_annotations"]
