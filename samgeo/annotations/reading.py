"""Reading of a file or folder of annotations, in any of the readable formats, into the table `Annotations`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from samgeo.annotations.format_detection import find_annotations
from samgeo.annotations.formats import (
    coco,
    cvat,
    dota,
    footprint_csv,
    label_studio,
    labelme,
    via,
    voc,
    yolo,
)
from samgeo.annotations.formats import vector_files as vectors
from samgeo.annotations.formats.voc import VocPixels
from samgeo.annotations.images import SUFFIXES, ImageFiles
from samgeo.annotations.parsing.faults import Faults, OnError
from samgeo.annotations.parsing.rows import Gathered
from samgeo.annotations.table import Annotations
from samgeo.arguments import check_types
from samgeo.errors import AnnotationError, OptionError
from samgeo.geo.vector.reading import split_layer
from samgeo.types import CRSLike

__all__ = ["READABLE", "read_annotations"]

_READERS: dict[str, Callable[[Gathered, Path, Sequence[Path], ImageFiles], None]] = {
    "coco": coco.read,
    "coco-results": coco.read_results,
    "cvat": cvat.read,
    "dota": dota.read,
    "dota-results": dota.read_results,
    "hrsc2016": voc.read_hrsc2016,
    "label-studio": label_studio.read,
    "labelme": labelme.read,
}

READABLE = tuple(
    sorted((*_READERS, "dior", "fair1m", "open-buildings", "spacenet", "vectors", "via", "voc", "yolo", *yolo.KINDS))
)
"""Names of the formats that `read_annotations` reads."""

_LABEL_FOLDERS = {"labels", "train", "val", "valid", "test"}
_CLASS_NAME_FORMATS = {"open-buildings", "spacenet", "vectors", "via"}


@check_types
def read_annotations(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the field's name for it
    images: str | os.PathLike[str] | Mapping[str, tuple[int, int]] | None = None,
    class_column: str | None = None,
    class_name: str | None = None,
    crs: CRSLike = None,
    pixels: VocPixels = "inclusive",
    on_error: OnError = "raise",
) -> Annotations:
    """Read a file or folder of annotations into one table.

    Files from unknown sources are safe to read: a file cannot run code, define XML entities or refer to images outside of their
    folder, and its size and number of records are limited. Invalid polygons are repaired: a ring that crosses itself becomes
    the area that drawing programs fill, and overlapping parts are joined. The attribute ``changed`` of the result lists the
    repairs.

    Parameters
    ----------
    path : path
        A file, or a folder, which is searched with its subfolders. COCO is one file, or one file in the folder of each part of
        a data set (Roboflow calls it ``_annotations.coco.json``). A vector layer is one file, or one layer of a file:
        ``city.gpkg:roofs``. Files that describe an image, such as ``a.tif.aux.xml`` of GDAL, are ignored.
    format : str, optional
        One of `READABLE`; the manual says what is read from each. ``"yolo"`` finds out which of the three kinds of YOLO labels
        the files are, by the number of points in a line. By default the format is detected from the content of the files.
    images : path or mapping, optional
        The images: a folder, a file, or a mapping of names to (height, width) in pixels. YOLO labels need the sizes of images,
        georeferenced layers need georeferenced images, and some formats need the names. For YOLO, a folder ``images`` beside
        the folder ``labels`` is used by default.
    class_column : str, optional
        The column of a vector file that has the class, ``"class"`` by default; for VIA, the attribute of a region.
    class_name : str, optional
        The class of every object of a vector file, of footprints in CSV (where the default is ``"building"``) or of VIA. It
        replaces the column.
    crs : "pixels", optional
        Take the coordinates of a vector file as pixels, whatever CRS the file declares.
    pixels : {"inclusive", "edges"}, default "inclusive"
        What the numbers of ``bndbox`` in XML are. ``"inclusive"``: numbers of pixels, which start at 1, and the last pixel
        belongs to the box, as in Pascal VOC. ``"edges"``: edges of the box, which start at 0.
    on_error : {"raise", "skip"}, default "raise"
        What to do with faulty records: objects, images, or files that belong to one image. ``"raise"`` raises one error with
        the number of faults and the first twenty of them. ``"skip"`` omits faulty records and lists them in the attribute
        ``left_out`` of the result. A fault of a whole data set, such as a truncated JSON file, raises an error in both cases.

    Returns
    -------
    Annotations
        All images, also those without annotations, in the order of their files, or in their order within the file for COCO and
        vector files.

    Raises
    ------
    AnnotationError
        If files cannot be read or have faulty content. The message has the path, and the line or element.
    OptionError
        If an option has no valid value, or is given for a format that does not use it.

    Examples
    --------
    >>> import json
    >>> from pathlib import Path
    >>> from samgeo.annotations import read_annotations
    >>> image = {"id": 1, "file_name": "a.png", "width": 100, "height": 80}
    >>> box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 30]}
    >>> coco = {"images": [image], "categories": [{"id": 1, "name": "ship"}], "annotations": [box]}
    >>> _ = Path("ships.json").write_text(json.dumps(coco))
    >>> table = read_annotations("ships.json")
    >>> table.classes, table.boxes_px.tolist()
    (('ship',), [[10.0, 10.0, 30.0, 40.0]])
    """
    name, layer = split_layer(path)
    root = Path(name)
    if format is not None and format not in READABLE:
        raise OptionError(f"format is {format!r}; give one of {', '.join(READABLE)}.")
    if pixels not in ("inclusive", "edges"):
        raise OptionError(f'pixels is {pixels!r}; give "inclusive" or "edges".')
    if on_error not in ("raise", "skip"):
        raise OptionError(f'on_error is {on_error!r}; give "raise" or "skip".')
    if not root.exists():
        raise AnnotationError(f"{root} does not exist (looked from {Path.cwd()}); check the path.")
    kind, paths = find_annotations(root, format)
    _check_options(kind, class_column, class_name, crs, pixels, layer=layer)
    folder = root if root.is_dir() else root.parent
    known = ImageFiles.of(_yolo_images(folder) if images is None and kind.startswith("yolo") else images)
    gathered = Gathered(Faults(on_error))
    if kind == "vectors":
        vectors.read(gathered, root, known, class_column=class_column, class_name=class_name, crs=crs, layer=layer)
    elif kind in {"open-buildings", "spacenet"}:
        footprint_csv.read(gathered, paths, known, kind, class_name or "building")
    elif kind == "via":
        via.read(gathered, folder, paths, known, class_column=class_column, class_name=class_name)
    elif kind.startswith("yolo"):
        yolo.read(gathered, folder, paths, known, kind)
    elif kind in _READERS:
        _READERS[kind](gathered, folder, paths, known)
    else:
        voc.read(gathered, folder, paths, known, kind, pixels=pixels)
    return gathered.to_table()


def _check_options(
    kind: str, class_column: str | None, class_name: str | None, crs: CRSLike, pixels: str, *, layer: str | None
) -> None:
    if layer is not None and kind != "vectors":
        raise OptionError(f"the layer {layer!r} has no meaning for {kind}; give the path of the file without a layer.")
    users = {
        "class_column": {"vectors", "via"},
        "class_name": _CLASS_NAME_FORMATS,
        "crs": {"vectors"},
        "pixels": {"voc", "dior"},
    }
    given = {"class_column": class_column, "class_name": class_name, "crs": crs, "pixels": pixels}
    defaults = {"pixels": "inclusive"}
    unused = [name for name, value in given.items() if value != defaults.get(name) and kind not in users[name]]
    if unused:
        raise OptionError(f"{unused[0]} has no meaning for {kind}; omit it.")
    if class_column is not None and class_name is not None:
        raise OptionError("class_column and class_name are both given; give only one of them.")


def _yolo_images(folder: Path) -> Path | None:
    """Return the folder of the images of a YOLO data set; None if there is none.

    This is the folder ``images`` in the given folder, or beside the folder ``labels`` that contains it. Otherwise it is the
    given folder if there are images in it.
    """
    for base in (folder, *list(folder.resolve().parents)[:2]):
        if (base / "images").is_dir():
            return base / "images"
        if base.name.lower() not in _LABEL_FOLDERS:
            break
    return folder if any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*")) else None
