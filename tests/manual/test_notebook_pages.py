"""Notebooks become pages of the manual with their outputs, and every one of them is in the navigation."""

from __future__ import annotations

import base64
import importlib.util
import io
import re

import nbformat
import pytest
from manual_pages import DOCS
from PIL import Image

ROOT = DOCS.parent


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("notebooks_hook", DOCS / "hooks" / "notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_notebook_becomes_markdown_with_its_pictures_tables_and_texts(hook, tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10)).save(buffer, "JPEG")
    picture, new = base64.b64encode(buffer.getvalue()).decode(), nbformat.v4
    rows = '<table border="1" class="dataframe"><tr><td>7</td></tr></table>'
    table = f"<div>\n<style scoped>\n.dataframe {{ color: red }}\n</style>\n{rows}\n</div>"
    outputs = [
        new.new_output("stream", name="stdout", text="said\n"),
        new.new_output("execute_result", {"image/jpeg": picture, "text/plain": "a picture"}, execution_count=1),
        new.new_output("execute_result", {"text/html": table, "text/plain": "7"}, execution_count=1),
    ]
    cells = [new.new_markdown_cell("# A title\n\nWords."), new.new_code_cell("x = 1", outputs=outputs)]
    path = tmp_path / "09-some.ipynb"
    nbformat.write(new.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}}), path)
    page, pictures = hook.convert(path)
    assert page.startswith("# A title\n\n!!! note\n    This page is the notebook `notebooks/09-some.ipynb`")
    assert pictures == {"09-some-1.jpg": buffer.getvalue()}
    assert "![what the cell shows](09-some-1.jpg)" in page
    assert "```python\nx = 1\n```" in page
    assert "    said\n" in page
    assert "<table><tr><td>7</td></tr></table>" in page
    assert "style" not in page
    assert "Words." in page


def test_every_notebook_is_in_the_navigation():
    listed = re.findall(r"^ +- notebooks/(.+)\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert listed == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
