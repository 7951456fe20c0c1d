"""QGIS, where it is installed; tests that need it skip otherwise."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PLUGINS = ROOT / "qgis-plugin"
# What this environment has for its own Python and GDAL is not for those of QGIS.
OF_THIS_PYTHON = ("PYTHONPATH", "PYTHONHOME", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA", "VIRTUAL_ENV")


class Qgis:
    """The programs of an installed QGIS, which run without a screen and with an own profile."""

    def __init__(self, folder):
        environment = {name: value for name, value in os.environ.items() if name not in OF_THIS_PYTHON}
        profile, samgeo = folder / "profile", folder / "bin"
        for one in (profile, samgeo):
            one.mkdir()
        self.command = samgeo / "samgeo"
        self.command.write_text(
            f'#!/bin/sh\nPYTHONPATH="{ROOT}" OMP_NUM_THREADS=1 exec "{sys.executable}" -P -m samgeo.cli "$@"\n'
        )
        self.command.chmod(0o755)
        self.environment = {
            **environment,
            "PATH": f"{samgeo}{os.pathsep}{os.defpath}",
            "QT_QPA_PLATFORM": "offscreen",
            "QGIS_CUSTOM_CONFIG_PATH": str(profile),
            "QGIS_PLUGINPATH": str(PLUGINS),
            "XDG_RUNTIME_DIR": str(folder),
        }
        # On Debian qgis_process is a script that gives the program an option which it does not know.
        self.process = shutil.which("qgis_process.bin") or shutil.which("qgis_process")

    @property
    def python(self):
        """The Python that has the modules of QGIS: that of SAMGEO_QGIS_PYTHON, or that of the system."""
        return os.environ.get("SAMGEO_QGIS_PYTHON") or shutil.which("python3", path=os.defpath)

    def run(self, *words):
        """Run a program of QGIS."""
        return subprocess.run(  # noqa: S603 - no shell
            list(map(str, words)), env=self.environment, capture_output=True, text=True, check=False, timeout=500
        )

    def draw(self, output, *words):
        """Draw layers into a picture with ``qgis-plugin/render.py``, and return what it prints."""
        done = self.run(self.python, PLUGINS / "render.py", output, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def qgis(tmp_path_factory):
    found = Qgis(tmp_path_factory.mktemp("qgis"))
    if found.python is None or found.run(found.python, "-c", "import qgis.core").returncode:
        pytest.skip("QGIS is not installed: no Python of the system imports qgis.core; SAMGEO_QGIS_PYTHON names another one")
    return found
