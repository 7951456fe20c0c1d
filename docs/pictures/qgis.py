"""Pictures of the page about QGIS, which QGIS itself draws from a generated town.

QGIS must be installed. Its Python is that of the system, or the one that SAMGEO_QGIS_PYTHON names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from registry import SkippedError, picture

import samgeo
from samgeo.geo.vector import write_vectors
from samgeo.plot import style_layer
from samgeo.synthetic import Scene, town

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "qgis-plugin"
SIDE, SEED = 448, 1
# What belongs to this Python and its libraries.
OF_THIS_PYTHON = ("PYTHONPATH", "PYTHONHOME", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA")


@picture("qgis-styles.jpg")
def styles() -> Image.Image:
    """Draw a result by score, and the true buildings by the cover of their roofs, as QGIS opens the files."""
    with _town() as (folder, scene, image):
        found = folder / "found.gpkg"
        samgeo.find(image, output=found, progress=False)
        style_layer(found, column="score")
        roofs = folder / "roofs.gpkg"
        write_vectors(scene.footprints.rename(columns={"cover": "class"}), roofs)
        style_layer(roofs)
        drawn = [_rendered(folder, one, image, "--legend", "30") for one in (found, roofs)]
    both = Image.new("RGB", (sum(one.width for one in drawn), drawn[0].height), "white")
    both.paste(drawn[0], (0, 0))
    both.paste(drawn[1], (drawn[0].width, 0))
    return both


@picture("qgis-provider.jpg")
def provider() -> Image.Image:
    """Draw the footprints that `qgis_process` makes with the plugin."""
    with _town() as (folder, _, image):
        output = folder / "footprints.gpkg"
        _qgis(folder, _process(), "plugins", "enable", "samgeo_qgis")
        _qgis(folder, _process(), "run", "samgeo:footprints", "--", f"INPUT={image}", f"OUTPUT={output}")
        return _rendered(folder, output, image)


@picture("qgis-dialog.png")
def dialog() -> Image.Image:
    """Draw the dialog of an algorithm."""
    with _town() as (folder, _, image):
        _qgis(folder, _python(), PLUGINS / "dialog.py", folder / "dialog.png", "samgeo:find", image)
        return _opened(folder / "dialog.png")


@contextmanager
def _town() -> Iterator[tuple[Path, Scene, Path]]:
    """Give a folder for a while, a town, and its image in the folder."""
    has_qgis = subprocess.run([_python(), "-c", "import qgis.core"], capture_output=True, check=False).returncode == 0  # noqa: S603
    if not has_qgis:
        raise SkippedError("QGIS is not installed: no Python of the system imports qgis.core")
    with tempfile.TemporaryDirectory() as name:
        folder, scene = Path(name), town((SIDE, SIDE), seed=SEED)
        yield folder, scene, scene.save(folder / "town.tif")


def _rendered(folder: Path, layer: Path, image: Path, *options: str) -> Image.Image:
    output = folder / f"{layer.stem}.png"
    _qgis(folder, _python(), PLUGINS / "render.py", output, layer, image, "--size", f"{SIDE},{SIDE}", *options)
    return _opened(output)


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as drawn:
        return drawn.convert("RGB")


def _python() -> str:
    return os.environ.get("SAMGEO_QGIS_PYTHON") or _program("python3")


def _process() -> str:
    # On Debian qgis_process is a script that gives the program an option which it does not know.
    return shutil.which("qgis_process.bin", path=os.defpath) or _program("qgis_process")


def _program(name: str) -> str:
    found = shutil.which(name, path=os.defpath)
    if found is None:
        raise SkippedError(f"QGIS is not installed: {name} is missing")
    return found


def _qgis(folder: Path, *words: str | Path) -> None:
    """Run a program of QGIS without a screen, with a profile in the folder and with the samgeo of this Python."""
    command = folder / "bin" / "samgeo"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -P -m samgeo.cli "$@"\n')
    command.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in OF_THIS_PYTHON}
    environment |= {"PATH": f"{command.parent}{os.pathsep}{os.defpath}", "QT_QPA_PLATFORM": "offscreen"}
    environment |= {"QGIS_CUSTOM_CONFIG_PATH": str(folder), "QGIS_PLUGINPATH": str(PLUGINS)}
    done = subprocess.run(  # noqa: S603 - no shell
        list(map(str, words)), env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed:\n{done.stdout}{done.stderr}")
