"""Hook of MkDocs: the executed notebooks become pages of the manual, with their outputs.

nbconvert turns each notebook into Markdown and pictures. Both are added to the site as generated files, so that nothing is
written beside the sources. Nothing is executed: ``make notebooks`` does that, and stores the outputs in the notebooks.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

FOLDER = "notebooks"
SHOWN = "what the cell shows"

# Tables of pandas have styles of their own; without them and without a class they look like the tables of the manual.
_STYLE = re.compile(r"<style scoped>.*?</style>\s*", re.DOTALL)
_TABLE = re.compile(r"<table [^>]*>")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, and its pictures."""
    for notebook in sorted((Path(config.config_file_path).parent / FOLDER).glob("*.ipynb")):
        page, pictures = convert(notebook)
        files.append(File.generated(config, f"{FOLDER}/{notebook.stem}.md", content=page))
        for name, content in pictures.items():
            files.append(File.generated(config, f"{FOLDER}/{name}", content=content))
    return files


def convert(notebook: Path) -> tuple[str, dict[str, bytes]]:
    """Return the Markdown of a notebook, and its pictures by the names that the Markdown gives them."""
    text, resources = MarkdownExporter().from_filename(str(notebook), resources={"unique_key": notebook.stem})
    pictures = resources.get("outputs", {})
    named = {
        f"{notebook.stem}-{number}{Path(old).suffix}": old for number, old in enumerate(sorted(pictures, key=text.find), 1)
    }
    for new, old in named.items():
        text = re.sub(rf"!\[\w*\]\({re.escape(old)}\)", f"![{SHOWN}]({new})", text)
    note = f"!!! note\n    This page is the notebook `notebooks/{notebook.name}`, with the outputs of its last run.\n"
    title, _, rest = _TABLE.sub("<table>", _STYLE.sub("", text)).lstrip().partition("\n")
    return f"{title}\n\n{note}\n{rest}", {new: pictures[old] for new, old in named.items()}
