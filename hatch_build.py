"""Builds the compiled library of samgeo, which makes the bundled model faster on x86-64 processors: ``python hatch_build.py``.

hatchling calls the hook for wheels and for editable installations. The library is optional: where it cannot be built, samgeo is
installed without it, with a warning. Needs only the standard library and a C++ compiler.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "samgeo" / "models" / "compiled"
LIBRARY = "steps.so"
COMPILERS = ("c++", "g++", "clang++")
# The instructions of x86-64-v3 by their names, because compilers before GCC 11 and clang 12 do not know that one. A product and
# its sum may be one instruction. Without -ffast-math, which changes how the whole process that loads the library rounds small
# numbers.
INSTRUCTIONS = ("-mavx2", "-mfma", "-mf16c", "-mbmi2")
FLAGS = ("-std=c++17", "-O3", *INSTRUCTIONS, "-fno-math-errno", "-ffp-contract=fast", "-shared", "-fPIC")
LAST_LINES = 12
ADVICE = "Install a C++ compiler (on Debian and Ubuntu: apt-get install g++), or name one in CXX, and install samgeo again."


class NotBuiltError(Exception):
    """The library cannot be built; the message has the reason, as the end of a sentence."""


def build(folder: Path, warn: Callable[[str], None]) -> bool:
    """Build the library out of all sources of a folder, if it is not newer than they are.

    Parameters
    ----------
    folder
        Has the sources, ``*.cpp`` and ``*.h``, and gets the library, ``steps.so``. An old library that cannot be built anew
        is removed, because it does not fit the sources.
    warn
        Is called once, with the reason and what to do, if there is no library.

    Returns
    -------
    bool
        Whether the library is there.
    """
    if sys.platform == "win32" or platform.machine() != "x86_64" or sys.maxsize < 2**32:
        warn(message("it is for x86-64 processors with Linux or macOS", advice=""))
        return False
    try:
        bring_up_to_date(folder)
    except (NotBuiltError, OSError) as error:
        warn(message(str(error), advice=ADVICE))
        return False
    return True


def message(reason: str, *, advice: str) -> str:
    """Return the warning for a person who installs samgeo."""
    consequence = "Everything works without it, but encoding and decoding are slower on CPUs."
    return f"The compiled library of samgeo was not built: {reason}.\n{consequence} {advice}".rstrip()


def bring_up_to_date(folder: Path) -> None:
    """Compile the sources of a folder, unless its library is newer than they, their headers and this file are."""
    library, sources = folder / LIBRARY, sorted(folder.glob("*.cpp"))
    if not sources:
        raise NotBuiltError(f"there are no sources in {folder}")
    newest = max(path.stat().st_mtime_ns for path in [*sources, *folder.glob("*.h"), Path(__file__)])
    if not library.exists() or library.stat().st_mtime_ns <= newest:
        library.unlink(missing_ok=True)
        compile_library(compiler(), sources, library)


def compiler() -> list[str]:
    """Return the command of the C++ compiler: ``$CXX``, which may have options, or the first that is on PATH."""
    chosen = os.environ.get("CXX", "").split()
    if chosen:
        if shutil.which(chosen[0]) is None:
            raise NotBuiltError(f"the compiler {chosen[0]}, which CXX names, was not found")
        return chosen
    for name in COMPILERS:
        if shutil.which(name) is not None:
            return [name]
    raise NotBuiltError(f"no C++ compiler was found ({', '.join(COMPILERS)})")


def compile_library(command: list[str], sources: list[Path], library: Path) -> None:
    """Compile sources to a library, which appears whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=f"{library.name}.", dir=library.parent) as folder:
        made = Path(folder) / library.name
        done = subprocess.run(  # noqa: S603  the compiler that the person has chosen
            [*command, *FLAGS, "-o", str(made), *map(str, sources)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode or not made.exists():
            said = "\n".join(done.stdout.strip().splitlines()[-LAST_LINES:])
            raise NotBuiltError(f"{command[0]} failed with status {done.returncode}" + (f":\n{said}\n" if said else ""))
        made.replace(library)


def get_build_hook() -> type:
    """Return the hook for hatchling; make runs this file in an environment without it."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
    from packaging.tags import sys_tags

    class LibraryHook(BuildHookInterface[Any]):
        """Puts the library into wheels, which then are for one platform, but for every version of Python 3."""

        def clean(self, versions: list[str]) -> None:  # noqa: ARG002
            (FOLDER / LIBRARY).unlink(missing_ok=True)

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if build(FOLDER, self.app.display_warning) and version != "editable":
                build_data["artifacts"].append(f"/{(FOLDER / LIBRARY).relative_to(self.root).as_posix()}")
                build_data["pure_python"] = False
                # The tags of many Linux systems are for a tool to give that has looked at the library.
                names = (tag.platform for tag in sys_tags())
                platform_name = next(name for name in names if not name.startswith(("manylinux", "musllinux")))
                build_data["tag"] = f"py3-none-{platform_name}"

    return LibraryHook


if __name__ == "__main__":
    build(FOLDER, lambda text: print(text, file=sys.stderr))  # noqa: T201
