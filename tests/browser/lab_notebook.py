"""A notebook in JupyterLab, seen through a browser."""

from __future__ import annotations

import ast
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Page

PATIENCE_S = 120.0
"""Of every wait: for machines that do other work at the same time."""

VIEWPORT = {"width": 1440, "height": 1100}
"""The page's pixels."""

POLL_MS = 50

# What anywidget says when its script has not started within two seconds, as on a busy machine; it goes on all the same.
_IMPATIENT = "[anywidget] Failed to initialize model"

# What ipyleaflet says of a map whose output was cleared and whose kernel has gone, when the page changes its size: it goes on
# listening to the page, and has no state that it could change.
_GONE = ("Cannot convert undefined or null to object", "update_bounds")

_READY = """path => {
    const widget = window.jupyterapp?.shell.currentWidget;
    return widget?.context?.path === path && widget.sessionContext.session?.kernel?.connectionStatus === 'connected';
}"""

_FILL = "cell => jupyterapp.shell.currentWidget.content.model.sharedModel.cells[0].setSource(cell)"

_ASK = """async expression => {
    const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const content = {code: '', silent: true, store_history: false, user_expressions: {value: expression}};
    return (await kernel.requestExecute(content).done).content.user_expressions.value;
}"""


class Notebook:
    """One notebook of one cell, its page and its kernel.

    Attributes
    ----------
    page : Page
    complaints : list of str
        Errors in the console, and requests for anything that is not on this JupyterLab; those are refused.
    """

    def __init__(self, page: Page, address: str, path: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._path, self._address = path, address
        page.on("console", self._hear)
        page.on("pageerror", self._hear_uncaught)
        page.route(lambda url: not url.startswith((address, "data:", "blob:")), self._refuse)

    def open(self) -> None:
        """Make the notebook, and open it in a kernel."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell()])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self._path)
        self.page.goto(f"{self._address}lab/tree/{self._path.name}")
        self._wait_ready()

    def run(self, cell: str | None = None) -> None:
        """Run the cell, with another content if one is given; it may not fail."""
        if cell is not None:
            self.page.evaluate(_FILL, cell)
        assert self.page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')") is not False, self.output()

    def restart(self, cell: str | None = None) -> None:
        """Start the kernel anew, and run the cell, with another content if one is given."""
        # First without the map: JupyterLab throws "Cannot send" where an old widget speaks to a kernel that is going.
        self.page.evaluate("() => jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        self._wait_ready()
        self.run(cell)

    def reload(self) -> None:
        """Save the notebook and load its page again; the kernel goes on."""
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        self.page.reload()
        self._wait_ready()

    def ask(self, expression: str) -> Any:
        """Return the value of a Python expression in the kernel, as JSON carries it."""
        answer = self.page.evaluate(_ASK, f"__import__('json').dumps({expression})")
        assert answer["status"] == "ok", answer
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))

    def wait_in_page(self, function: str, argument: Any = None) -> None:
        """Wait until a JavaScript function of an argument returns what is true."""
        # By default playwright looks in every frame, which keeps the browser drawing frames.
        self.page.wait_for_function(function, arg=argument, polling=POLL_MS)

    def wait_for(self, expression: str) -> None:
        """Wait until a Python expression is true in the kernel."""
        self.wait_until(lambda: self.ask(f"bool({expression})"), expression)

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until a function returns what is true; it may ask the kernel and the page anew each time."""
        end = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < end, f"{what} did not become true"
            self.page.wait_for_timeout(POLL_MS)

    def use_theme(self, name: str) -> None:
        """Change the theme of JupyterLab to "Light" or "Dark", and wait until its splash screen has gone.

        JupyterLab removes the splash screen twice, with an error, if the theme is changed again before.
        """
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {name}")
        self.page.locator(f"body[data-jp-theme-light={str(name == 'Light').lower()}]").wait_for(state="attached")
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def output(self) -> str:
        return "\n".join(self.page.locator(".jp-OutputArea-output").all_inner_texts())

    def picture(self, name: str) -> None:
        """Keep a picture of the page in the folder that SAMGEO_SCREENSHOTS names, if it does."""
        folder = os.environ.get("SAMGEO_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png")

    def close(self) -> None:
        """Shut the kernel down and leave."""
        self.page.evaluate("() => jupyterapp.shell.currentWidget?.sessionContext.shutdown()")
        self.page.context.close()

    def _wait_ready(self) -> None:
        self.wait_in_page(_READY, self._path.name)
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.ready")

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"console: {message.text} ({message.location.get('url')})")

    def _hear_uncaught(self, error: Any) -> None:
        told = f"{error}\n{getattr(error, 'stack', '')}"
        if _IMPATIENT not in told and not all(one in told for one in _GONE):
            self.complaints.append(f"uncaught: {told}")

    def _refuse(self, route: Any) -> None:
        self.complaints.append(f"asked for {route.request.url}")
        route.abort()
