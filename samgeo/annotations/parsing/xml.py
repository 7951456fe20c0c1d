"""XML without document types and entities, bounded, every element with its line.

Expat, which comes with Python, is asked itself: what is refused is refused before any of it is read on, and elements know
their lines, which ElementTree and the libraries on top of it forget.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from samgeo.annotations.parsing.text_files import MAX_XML_BYTES, Where, fail, read_bytes

__all__ = ["Element", "read_xml"]

_SAID_ENCODING = re.compile(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
# Encodings of East Asian programs, which Expat does not know. GB 18030 holds GB 2312 and GBK.
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
    """An element: its name, its text, its children, its attributes and where it starts."""

    tag: str
    where: Where
    pieces: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Its own text without blanks around it."""
        return "".join(self.pieces).strip()

    def get(self, tag: str) -> Element | None:
        """Return the first child of this name."""
        return next((child for child in self.children if child.tag == tag), None)

    def all(self, tag: str) -> list[Element]:
        """Return the children of this name."""
        return [child for child in self.children if child.tag == tag]

    def need(self, tag: str) -> Element:
        """Return the first child of this name.

        Raises
        ------
        AnnotationError
            If there is none.
        """
        found = self.get(tag)
        if found is None:
            fail(self.where, f"<{self.tag}> has no <{tag}>")
        return found


def read_xml(path: Path) -> Element:
    """Return the root of an XML file.

    Raises
    ------
    AnnotationError
        If it cannot be read, is no XML, has a document type (and with it entities), or is too large or too deep; with the line.
    """
    content, encoding = _decoded(path, read_bytes(path, MAX_XML_BYTES))
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
            fail(here(), f"it has more than {MAX_DEPTH} elements in one another, or more than {MAX_ELEMENTS} in all")
        element = Element(tag, here(), attributes=attributes)
        stack[-1].children.append(element)
        stack.append(element)

    def text(piece: str) -> None:
        stack[-1].pieces.append(piece)

    def end(_tag: str) -> None:
        stack.pop()

    def refuse(*_: object) -> NoReturn:
        fail(here(), "it has a document type or an entity, which are not read", "remove the <!DOCTYPE ...>")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    try:
        # In one piece: fed in pieces, a long token would be read again with each.
        parser.Parse(content, True)
    except expat.ExpatError as error:
        fail(Where(path, f"line {error.lineno}"), f"it is no XML ({expat.ErrorString(error.code)})", "check that it is whole")
    except ValueError as error:
        fail(Where(path), f"its encoding cannot be read ({str(error)[:100]})", "save it as UTF-8")
    return top.children[0]


def _decoded(path: Path, content: bytes) -> tuple[bytes, str | None]:
    """Return XML in an encoding that Expat reads, and this encoding where it is not the one that the file says."""
    said = _SAID_ENCODING.match(content)
    name = said[1].decode("ascii").lower() if said else ""
    if name not in _MULTIBYTE:
        return content, None
    codec = _MULTIBYTE[name]
    try:
        return content.decode(codec).encode(), "utf-8"
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fail(Where(path, f"line {line}"), f"byte {content[error.start]:#04x} is not {name}, its encoding", "save it as UTF-8")
