"""Detection of the format of annotation files, the first step of `read_annotations`.

The content of a file decides. The suffix decides for vector files, and for files whose content shows no format.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from samgeo.annotations.formats import dota, footprint_csv, geojsonl, via, voc, yolo
from samgeo.annotations.formats import vector_files as vectors
from samgeo.annotations.parsing.text_files import (
    MAX_JSON_BYTES,
    MAX_XML_BYTES,
    Where,
    fail,
    find_files,
    head_of,
    read_bytes,
    shown,
)
from samgeo.errors import AnnotationError

__all__ = ["find_annotations", "format_of_file"]

# A file without objects does not show its format, so that detection examines up to this many files of a folder.
_MAX_EXAMINED_FILES = 1000
_MAX_EXAMINED_LINES = 20
_HEAD_BYTES = 1 << 16

_SUFFIXES = {
    "coco": (".json",),
    "coco-results": (".json",),
    "cvat": (".xml",),
    "dior": (".xml",),
    "dota": (".txt",),
    "dota-results": (".txt",),
    "fair1m": (".xml",),
    "hrsc2016": (".xml",),
    "label-studio": (".json",),
    "labelme": (".json",),
    "open-buildings": (".csv", ".csv.gz"),
    "spacenet": (".csv", ".csv.gz"),
    "via": (".json", ".csv"),
    "voc": (".xml",),
} | dict.fromkeys(("yolo", *yolo.KINDS), (".txt",))

_TASK_FILE = re.compile(r"task[12]_", re.IGNORECASE)
_XML_PROLOG = re.compile(rb"^(\s|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)


def find_annotations(root: Path, kind: str | None) -> tuple[str, list[Path]]:
    """Return the format of a file or folder of annotations, and the files to read.

    Parameters
    ----------
    root : Path
        A file, or a folder, which is searched with its subfolders.
    kind : str or None
        The format if the caller named it; None to detect it.

    Returns
    -------
    kind : str
        The format.
    paths : list of Path
        The file itself, or the files below the folder whose suffix belongs to the format.

    Raises
    ------
    AnnotationError
        If the path is neither a regular file nor a folder, or if a folder has no annotations, annotations of several formats,
        or vector layers.
    """
    if root.is_file():
        return kind or format_of_file(root) or "dota", [root]
    if not root.is_dir():
        fail(Where(root), "it is neither a regular file nor a folder", "give a file of annotations, or a folder of them")
    if kind == "vectors":
        fail(Where(root), "it is a folder, but a vector layer is one file", "give the path of the file")
    suffixes = _SUFFIXES[kind] if kind else (".xml", ".txt", ".json", ".csv", ".csv.gz")
    found = {suffix: find_files(root, suffix) for suffix in suffixes}
    if ".txt" in found:
        found[".txt"] = yolo.label_files(found[".txt"])
    if kind is not None:
        paths = [path for some in found.values() for path in some]
        if not paths:
            fail(
                Where(root),
                f"it has no annotations, because no file ends in {' or '.join(suffixes)}",
                "check the path of the folder",
            )
        return kind, paths
    return _format_of_folder(root, {suffix: paths for suffix, paths in found.items() if paths})


def _format_of_folder(root: Path, found: dict[str, list[Path]]) -> tuple[str, list[Path]]:
    formats = {suffix: _common_format(paths) for suffix, paths in found.items()}
    known = {suffix: one for suffix, one in formats.items() if one}
    if not known and ".txt" in found and formats[".txt"] == "":
        known = {".txt": "dota"}
    if not known:
        for path in [path for paths in found.values() for path in paths][:1]:
            # This raises the error that says what is wrong with the file.
            format_of_file(path)
        what = "it has no annotations, because no .xml, .txt, .json, .csv or .csv.gz file in it has a known format"
        fail(Where(root), what, "check the path of the folder")
    if len(set(known.values())) > 1:
        fail(
            Where(root),
            f"it has files of several formats ({', '.join(sorted(set(known.values())))})",
            "name the format to read with format=...",
        )
    kind = next(iter(known.values()))
    if kind == "vectors":
        fail(Where(root), "its files are vector layers, which are read one at a time", "give the path of one file")
    return kind, [path for suffix in known for path in found[suffix]]


def _common_format(paths: Sequence[Path]) -> str | None:
    """Return the format that the first files have.

    Files that are not recognised do not count if another file is. If no file shows a format, the result is None where a file is
    not recognised, and an empty string where all files are without objects.
    """
    examined = paths[:_MAX_EXAMINED_FILES]
    kinds: set[str | None] = set()
    for path in examined:
        try:
            kinds.add(format_of_file(path, is_alone=False))
        except AnnotationError:
            kinds.add(None)
    seen = {kind for kind in kinds if kind}
    # Files of DIOR or FAIR1M without oriented boxes look like Pascal VOC. The readers of DIOR and FAIR1M read them too.
    for other in ("dior", "fair1m"):
        if seen == {"voc", other}:
            return other
    if len(seen) > 1:
        what = f"its files are of several formats ({', '.join(sorted(seen))})"
        fail(Where(paths[0].parent), what, "name the format to read with format=...")
    return seen.pop() if seen else (None if None in kinds else "")


def format_of_file(path: Path, *, is_alone: bool = True) -> str | None:
    """Return the format of a file; an empty string if the file has no objects that would show it.

    Parameters
    ----------
    path : Path
    is_alone : bool, default True
        Whether this is the only file to read. JSON whose keys show no format is then taken as COCO, so that the reader of COCO
        reports what is wrong with the file. Otherwise the result for such a file is None.

    Raises
    ------
    AnnotationError
        If the file cannot be read or has no known format.
    """
    if path.suffix.lower() in vectors.SUFFIXES:
        return "vectors"
    head = head_of(path, _HEAD_BYTES)
    if b"\0" in head[:64] and b"<" in head[:8]:
        head = head.replace(b"\0", b"")  # XML in UTF-16
    if head.startswith(b"<"):
        return _format_of_xml(path)
    if head.startswith((b"{", b"[", b"\x1e")):
        return _format_of_json(path, head) or ("coco" if is_alone else None)
    csv_kind = footprint_csv.format_of(head) or via.format_of(head)
    if csv_kind:
        return csv_kind
    # The reader of the format that the suffix stands for reports what is wrong with the content.
    by_suffix = {".xml": "voc", ".json": "coco"}.get(path.suffix.lower())
    return by_suffix or _format_of_text(path, head)


def _format_of_xml(path: Path) -> str:
    content = read_bytes(path, MAX_XML_BYTES).replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf")
    root = _XML_PROLOG.sub(b"", content, count=1)
    if root.startswith((b"<annotations>", b"<annotations ")):
        return "cvat"
    if root.startswith((b"<HRSC_Image", b"<HRSC_image")):
        return "hrsc2016"
    return voc.format_of(content)


def _has(head: bytes, *keys: bytes) -> bool:
    return all(re.search(rb'"' + key + rb'"\s*:', head) for key in keys)


def _format_of_json(path: Path, head: bytes) -> str:
    """Return the format of a JSON file by its keys; an empty string if they show none."""
    if b'"FeatureCollection"' in head or geojsonl.is_lines(head):
        return "vectors"
    return _format_of_list(head) if head.startswith(b"[") else _format_of_object(path, head)


def _format_of_list(head: bytes) -> str:
    if _has(head, b"data") and any(_has(head, key) for key in (b"annotations", b"completions", b"predictions")):
        return "label-studio"
    return "coco-results" if _has(head, b"image_id", b"category_id") else ""


def _format_of_object(path: Path, head: bytes) -> str:
    """Return the format of a JSON object by its keys: first by those in the head, then by those in the whole file."""
    if _has(head, b"shapes") and any(_has(head, key) for key in (b"points", b"imagePath", b"flags")):
        return "labelme"
    if _has(head, b"_via_img_metadata") or (_has(head, b"regions", b"filename") and not _has(head, b"images")):
        return "via"
    if _has(head, b"images") or _has(head, b"annotations"):
        return "coco"
    if len(head) < _HEAD_BYTES:
        return ""
    # A long list of categories or a long description can precede the keys that show the format.
    content = read_bytes(path, MAX_JSON_BYTES)
    return "coco" if _has(content, b"images", b"annotations") else "labelme" if _has(content, b"shapes", b"imagePath") else ""


def _format_of_text(path: Path, head: bytes) -> str:
    """Return the format of a text file by the first line that shows one; an empty string if the file has no objects."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The end of the head can cut a character of several bytes.
        text = head[: error.start].decode("utf-8")
    numbered = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    lines = [(number, line) for number, line in numbered if not dota.is_header(line)][:_MAX_EXAMINED_LINES]
    for _, line in lines:
        kind = _format_of_line(line.split(), bool(_TASK_FILE.match(path.name)))
        if kind:
            return kind
    if lines or (head and not numbered):
        where = Where(path, f"line {lines[0][0] if lines else 1}")
        what = f"it is a line of neither DOTA nor YOLO ({shown(lines[0][1]) if lines else 'no text'})"
        if path.suffix.lower() != ".txt":
            fail(
                Where(path),
                f"neither its suffix {path.suffix!r} nor its content shows its format",
                "name the format with format=...",
            )
        fail(where, what, "name the format with format=...")
    return ""


def _format_of_line(fields: list[str], is_task: bool) -> str:
    """Return the format of a line; an empty string if it shows none. ``is_task``: the file is named like a result of DOTA."""
    is_number = [_is_number(field) for field in fields]
    # The name of an image, a score, and the coordinates of four corners, or of two in results for horizontal boxes.
    if len(fields) in (6, 10) and all(is_number[1:]) and (is_task or not is_number[0]):
        return "dota-results"
    if all(is_number) and len(fields) >= 5 and fields[0].isdigit():
        return "yolo"
    # Eight coordinates and a class. A number in the place of the class would be a coordinate in a line of YOLO.
    return "dota" if len(fields) >= 9 and all(is_number[:8]) and not is_number[8] else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
