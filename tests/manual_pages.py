"""Pages of the manual as programs: their blocks run one after the other, and print what the page says.

A block ``python`` is executed with the names of the blocks before it. A block ``text`` that follows one is what it prints. In a
block ``console``, each line that begins with ``$`` is a command, and the lines after it are what it prints.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner

from samgeo.cli import main

DOCS = Path(__file__).parent.parent / "docs"

# Programs of others, which a page names and a test does not start. The command line of samgeo always runs.
PROGRAMS_OF_OTHERS = {"dask", "gdaladdo", "kill", "pip", "qgis"}

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")

# Figures of a model differ between processors and versions of torch, mostly in the last digits.
ABSOLUTE, RELATIVE = 0.03, 0.1


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code of a page."""

    language: str
    text: str
    line: int


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of code of a text in Markdown, in their order."""
    return [Block(found[1], found[2], page.count("\n", 0, found.start()) + 2) for found in _BLOCK.finditer(page)]


def same_text(expected: str, printed: str) -> bool:
    """Whether a page says what was printed: the same words, nearly the same numbers; lines of `...` are any number of lines."""
    wanted, got = ([line.split() for line in text.strip().splitlines() if line.strip()] for text in (expected, printed))
    return _matches(wanted, got)


def _matches(wanted: list[list[str]], got: list[list[str]]) -> bool:
    if not wanted:
        return not got
    if wanted[0] == ["..."]:
        return any(_matches(wanted[1:], got[start:]) for start in range(len(got) + 1))
    return bool(got) and _same_line(" ".join(wanted[0]), " ".join(got[0])) and _matches(wanted[1:], got[1:])


def _same_line(wanted: str, got: str) -> bool:
    if _NUMBER.sub("#", wanted) != _NUMBER.sub("#", got):
        return False
    pairs = zip(map(float, _NUMBER.findall(wanted)), map(float, _NUMBER.findall(got)), strict=True)
    return all(abs(one - other) <= max(ABSOLUTE, RELATIVE * abs(one), 2 * (one > 5)) for one, other in pairs)


@dataclass
class Reader:
    """Somebody who does what a page says, in the current folder.

    Attributes
    ----------
    replaced : mapping of str to str
        Texts that are replaced before a block runs, such as minutes of training by one step; each must occur.
    names : dict
        The names that the blocks of Python have made.
    """

    replaced: Mapping[str, str] = field(default_factory=dict)
    names: dict[str, object] = field(default_factory=lambda: {"__name__": "page"})

    def follow(self, page: str, blocks: Iterable[Block] | None = None) -> None:
        """Run blocks, by default all of a page, and compare what they print with the page."""
        some = list(blocks_of(page) if blocks is None else blocks)
        whole = "\n".join(block.text for block in some)
        missing = [text for text in self.replaced if text not in whole]
        assert not missing, f"the page does not say {missing}"
        for number, block in enumerate(some):
            following = some[number + 1] if number + 1 < len(some) else None
            if block.language == "python":
                printed = self.run_python(block)
                if following is not None and following.language == "text":
                    assert same_text(following.text, printed), f"line {following.line}: it printed\n{printed}"
            elif block.language == "console":
                self.run_console(block)

    def run_python(self, block: Block) -> str:
        """Execute a block, and return what it prints."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * (block.line - 1) + self._edit(block.text), "page", "exec"), self.names)  # noqa: S102 - our manual
        return printed.getvalue()

    def run_console(self, block: Block) -> None:
        """Run the commands of samgeo in a block."""
        for command, expected in commands_of(block.text):
            words = shlex.split(self._edit(command), comments=True)
            if words[0] in PROGRAMS_OF_OTHERS:
                continue
            assert words[0] == "samgeo", f"line {block.line}: {command} is no command of samgeo"
            result = CliRunner().invoke(main, words[1:], prog_name="samgeo")
            assert result.exit_code == 0, f"{command}: {result.output}\n{result.exception!r}"
            if expected.strip():
                printed = "\n".join(_without_bars((result.stdout + result.stderr).splitlines()))
                assert same_text(expected, printed), f"line {block.line}: {command} printed\n{printed}"

    def _edit(self, text: str) -> str:
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text


def commands_of(console: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a block, and what the page says that it prints."""
    command, expected = "", [""]
    for line in console.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, "\n".join(expected)
            command, expected = line[2:], []
        elif command.endswith("\\"):
            command = command[:-1] + line
        else:
            expected.append(line)
    if command:
        yield command, "\n".join(expected)


def _without_bars(lines: list[str]) -> list[str]:
    """Leave out progress bars, which draw over their line."""
    return [line.rpartition("\r")[2] for line in lines if "it/s]" not in line and "%|" not in line]
