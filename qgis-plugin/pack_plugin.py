"""Pack the plugin into a ZIP file, which QGIS installs; needs only Python.

Run it from anywhere::

    python3 qgis-plugin/pack_plugin.py build/samgeo_qgis.zip
"""

from __future__ import annotations

import argparse
import os
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PLUGIN = ROOT / "samgeo_qgis"
SUFFIXES = (".py", ".svg", ".txt")
# The same files give the same bytes.
DATE = (1980, 1, 1, 0, 0, 0)


def pack(output: Path) -> list[str]:
    """Write the ZIP file, which appears when it is whole; return the names in it."""
    files = {path.relative_to(ROOT).as_posix(): path for path in sorted(PLUGIN.iterdir()) if path.suffix in SUFFIXES}
    # The repository of plugins of QGIS wants the licence inside.
    files["samgeo_qgis/LICENSE"] = ROOT.parent / "LICENSE"
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f"{output.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in files.items():
                archive.writestr(zipfile.ZipInfo(name, DATE), path.read_bytes(), zipfile.ZIP_DEFLATED)
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
    return list(files)


def main() -> None:
    """Pack the plugin into the file that the command line names."""
    parser = argparse.ArgumentParser(description="Pack the QGIS plugin of samgeo into a ZIP file.")
    parser.add_argument("output", type=Path, help="ZIP file to write; an existing one is replaced")
    output = parser.parse_args().output
    print(f"{len(pack(output))} files in {output}")


if __name__ == "__main__":
    main()
