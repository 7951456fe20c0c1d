"""Reading of XML from unknown sources: no document types and entities, limited size and depth, and a line for each element.

The module uses Expat of Python's standard library directly. It stops at the start of what is not allowed, before the rest is
read, and it knows the line of each element, which ElementTree and libraries on top of it do not keep.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from samgeo.annotations.parsing.text_files import MAX_XML_BYTES, Where, fail, read_bytes

__all__ = ["Element", "read_xml"]

_DECLARED_ENCODING = re.compile(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
# Encodings of East Asian programs that Expat does not support. GB 18030 includes GB 2312 and GBK.
_MULTIBYTE = dict.fromkeys(("gb2312", "gbk", "cp936", "gb18030"), "gb18030") | {
    "big5": "cp950",
    "euc-jp": "euc_jp",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
}
MAX_DEPTH = 64
MAX_ELEMENTS = 200_000


@dataclass(slots=True)
class Element:
    """An XML element.

    Attributes
    ----------
    tag : str
        Name of the element.
    where : Where
        Place of its start.
    pieces : list of str
        Parts of its own text.
    children : list of Element
    attributes : dict of str to str
    """

    tag: str
    where: Where
    pieces: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The element's own text without surrounding whitespace."""
        return "".join(self.pieces).strip()

    def get(self, tag: str) -> Element | None:
        """Return the first child with a name; None if there is none."""
        return next((child for child in self.children if child.tag == tag), None)

    def all(self, tag: str) -> list[Element]:
        """Return all children with a name."""
        return [child for child in self.children if child.tag == tag]

    def need(self, tag: str) -> Element:
        """Return the first child with a name.

        Raises
        ------
        AnnotationError
            If there is no such child.
        """
        found = self.get(tag)
        if found is None:
            fail(self.where, f"the element <{self.tag}> has no <{tag}>")
        return found


def read_xml(path: Path) -> Element:
    """Return the root of an XML file.

    Raises
    ------
    AnnotationError
        If the file cannot be read, is not valid XML, has a document type (and with it entities), or is too large or too deeply
        nested. The message has the line.
    """
    content, encoding = _recoded(path, read_bytes(path, MAX_XML_BYTES))
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    top = Element("", Where(path))
    stack = [top]
    count = 0

    def here() -> Where:
        return Where(path, f"line {parser.CurrentLineNumber}")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(stack) > MAX_DEPTH or count > MAX_ELEMENTS:
            fail(here(), f"it has more than {MAX_ELEMENTS} elements, or elements nested more than {MAX_DEPTH} deep")
        element = Element(tag, here(), attributes=attributes)
        stack[-1].children.append(element)
        stack.append(element)

    def text(piece: str) -> None:
        stack[-1].pieces.append(piece)

    def end(_tag: str) -> None:
        stack.pop()

    def refuse(*_: object) -> NoReturn:
        fail(here(), "it has a document type or an entity, which are not allowed", "remove the <!DOCTYPE ...>")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    try:
        # Expat gets all of the content in one call, because it reads a long token again with each further piece.
        parser.Parse(content, True)
    except expat.ExpatError as error:
        fail(
            Where(path, f"line {error.lineno}"),
            f"it is not valid XML ({expat.ErrorString(error.code)})",
            "check that the file is complete",
        )
    except ValueError as error:
        fail(Where(path), f"its encoding is not supported ({str(error)[:100]})", "save the file as UTF-8")
    return top.children[0]


def _recoded(path: Path, content: bytes) -> tuple[bytes, str | None]:
    """Return XML in an encoding that Expat supports, and that encoding if it is not the one that the file declares."""
    declared = _DECLARED_ENCODING.match(content)
    name = declared[1].decode("ascii").lower() if declared else ""
    if name not in _MULTIBYTE:
        return content, None
    codec = _MULTIBYTE[name]
    try:
        return content.decode(codec).encode(), "utf-8"
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fail(
            Where(path, f"line {line}"),
            f"byte {content[error.start]:#04x} is not {name}, the declared encoding",
            "save the file as UTF-8",
        )
