"""JupyterLab on loopback, in folders of its own, with the Python that runs the tests as its kernel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START_S = 120.0
STOP_S = 15.0

OPTIONS = (
    "--no-browser",
    "--allow-root",  # a container of CI has no other user
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port=0",
    "--ServerApp.terminals_enabled=False",
    "--IdentityProvider.token=",
    "--LabApp.expose_app_in_browser=True",
    "--LabApp.news_url=",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
)
SETTINGS = {"@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}

FOLDERS = {
    "HOME": "",
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "IPYTHONDIR": "ipython",
    "TMPDIR": "tmp",
}


def find_browser() -> str | None:
    """Return where Chromium is, if it is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def jupyterlab(home: Path, notebooks: Path) -> Iterator[str]:
    """Give the address of a JupyterLab that shows a folder; nothing of the user's own is read or written."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")}
    for name, folder in FOLDERS.items():
        (home / folder).mkdir(parents=True, exist_ok=True)
        environment[name] = str(home / folder)
    for name, values in SETTINGS.items():
        settings = home / FOLDERS["JUPYTERLAB_SETTINGS_DIR"] / f"{name}.jupyterlab-settings"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(json.dumps(values))
    command = [sys.executable, "-m", "jupyterlab", *OPTIONS, f"--ServerApp.root_dir={notebooks}"]
    log = home / "jupyter.log"
    with log.open("wb") as out, subprocess.Popen(command, env=environment, cwd=notebooks, stdout=out, stderr=out) as server:  # noqa: S603
        try:
            yield _address(server, home / FOLDERS["JUPYTER_RUNTIME_DIR"], log)
        finally:
            server.terminate()  # and its kernels with it
            try:
                server.wait(STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()


def _address(server: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    info = runtime / f"jpserver-{server.pid}.json"
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            return json.loads(info.read_text())["url"]
        except (FileNotFoundError, json.JSONDecodeError):
            time.sleep(0.05)  # not there yet, or half written
    raise RuntimeError(f"JupyterLab did not start; it said:\n{log.read_text()}")
