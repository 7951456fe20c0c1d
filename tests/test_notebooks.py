"""Every notebook runs from its first cell to its last, and is kept with small outputs that do not differ from run to run."""

from __future__ import annotations

import base64
import importlib.util
import io
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 400_000


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One kernel for all notebooks, because each new one would import torch again."""
    folder = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("IPYTHONDIR", str(folder / "ipython"))
        environment.setenv("TMPDIR", str(folder))
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(cwd=str(folder))
        yield manager
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, kernel):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))  # the names of an earlier notebook are gone
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    client = NotebookClient(notebook, km=kernel, timeout=300)
    try:
        client.execute()
    finally:
        if client.kc is not None:
            client.kc.stop_channels()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert last.outputs


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_with_small_outputs_that_are_the_same_every_time(path):
    assert path.stat().st_size < MOST_BYTES
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"display_data", "execute_result", "stream"}  # and no error
    pictures = [base64.b64decode(output.data["image/jpeg"]) for output in outputs if "image/jpeg" in output.get("data", {})]
    assert pictures
    assert all(len(picture) <= 60_000 and Image.open(io.BytesIO(picture)).width >= 200 for picture in pictures)
    assert code[-1].outputs
    assert all(not cell.metadata for cell in notebook.cells)  # nbclient writes the times of each cell there
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    texts = [value for output in outputs for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
    text = "\n".join(texts + [output.text for output in outputs if output.output_type == "stream"])
    assert not re.search(r"/tmp/|0x[0-9a-f]{6,}|%\|", text)  # noqa: S108 - names of temporary folders, addresses, progress bars


@pytest.fixture(scope="module")
def program():
    """The program that runs the notebooks and stores their outputs."""
    spec = importlib.util.spec_from_file_location("execute_notebooks", FOLDER / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_differs_from_run_to_run_is_left_out(program):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (900, 900, 3), dtype=np.uint8)).save(buffer, "PNG")
    png = base64.b64encode(buffer.getvalue()).decode()
    folder = f"{program.tempfile.gettempdir()}/abc123"
    new = nbformat.v4
    outputs = [
        new.new_output("stream", name="stderr", text="50%|#####"),
        new.new_output("stream", name="stdout", text=f"{folder}/"),
        new.new_output("stream", name="stdout", text="town.tif\n"),
        new.new_output("display_data", {"image/png": png, "text/plain": "<PIL.Image.Image at 0x7f00>"}),
        new.new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": f"Map({folder})"}),
    ]
    cell = new.new_code_cell("1", outputs=outputs, metadata={"execution": {"iopub.execute_input": "2020"}}, execution_count=1)
    notebook = new.new_notebook(
        cells=[cell], metadata={"widgets": {}, "language_info": {"name": "python", "version": "3.11.2"}}
    )
    program.clean(notebook)
    stream, picture, widget = notebook.cells[0].outputs
    assert stream.text == "folder/town.tif\n"
    assert set(picture.data) == {"image/jpeg", "text/plain"}
    small = base64.b64decode(picture.data["image/jpeg"])
    assert len(small) <= 60_000
    assert 200 <= Image.open(io.BytesIO(small)).width <= 800
    assert widget.data == {"text/plain": "Map(folder)"}
    assert not notebook.cells[0].metadata
    assert notebook.metadata["language_info"] == {"name": "python"}
    nbformat.validate(notebook)


def test_a_notebook_that_does_not_exist_is_refused(program, capsys):
    with pytest.raises(SystemExit):
        program.main(["99-missing"])
    assert "there is no notebook 99-missing; there are 01-segment-a-raster" in capsys.readouterr().err
