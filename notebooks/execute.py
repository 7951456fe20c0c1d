"""Run the notebooks, and store their outputs in them.

    python notebooks/execute.py                     # all
    python notebooks/execute.py 01-segment-a-raster # one

What differs from run to run is left out: times, widgets, progress bars and names of temporary folders. Pictures are stored as
JPEG of at most 60 kB, so that the files stay small. A notebook in which a cell fails is left as it is.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent
PICTURE_BYTES = 60_000
QUALITIES = range(88, 30, -4)
MOST_SIDE_PX = 800
PATIENCE_S = 1200

_TEMPORARY = re.compile(re.escape(tempfile.gettempdir()) + r"/\w+")
_WIDGETS = ("application/vnd.jupyter.widget-view+json", "image/svg+xml", "text/latex")


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="name of a notebook without its suffix; all if none is given")
    options = parser.parse_args(arguments)
    every = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
    unknown = set(options.names) - set(every)
    if unknown:
        parser.error(f"there is no notebook {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    os.environ.pop("SAMGEO_DATA", None)  # the outputs are those that everybody gets, without data
    for name in options.names or every:
        notebook = nbformat.read(every[name], as_version=4)
        with tempfile.TemporaryDirectory() as place:
            where = {"metadata": {"path": place}}
            NotebookClient(notebook, timeout=PATIENCE_S, kernel_name="python3", resources=where).execute()
        clean(notebook)
        nbformat.write(notebook, every[name])
        print(f"{name}: {every[name].stat().st_size // 1000} kB", flush=True)
    return 0


def clean(notebook: nbformat.NotebookNode) -> None:
    """Leave out what differs from run to run, and make pictures small."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = _joined([output for output in map(_cleaned, cell.outputs) if output is not None])


def _cleaned(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """Return an output as it is stored, or None if it is a progress bar."""
    if output.output_type == "stream":
        output.text = _TEMPORARY.sub("folder", output.text)
        return output if output.name == "stdout" else None
    for kind in _WIDGETS:
        output.data.pop(kind, None)
    output.metadata = {}
    for kind, value in list(output.data.items()):
        if kind.startswith("text/"):
            output.data[kind] = _TEMPORARY.sub("folder", value)
    pictures = [base64.b64decode(output.data.pop(kind)) for kind in ("image/png", "image/jpeg") if kind in output.data]
    if pictures:
        output.data["image/jpeg"] = base64.b64encode(_small(pictures[0])).decode()
        output.data["text/plain"] = "a picture"  # a PIL image says its address in memory
    return output


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join texts that follow each other: how a kernel cuts them differs from run to run."""
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        if joined and output.output_type == "stream" == joined[-1].output_type:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _small(content: bytes) -> bytes:
    """Return a picture as a JPEG of at most `PICTURE_BYTES`, in the best quality that fits, and else smaller."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    side = MOST_SIDE_PX
    while True:
        picture.thumbnail((side, side))
        for quality in QUALITIES:
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
            if buffer.tell() <= PICTURE_BYTES:
                return buffer.getvalue()
        side = side * 3 // 4


if __name__ == "__main__":
    sys.exit(main())
