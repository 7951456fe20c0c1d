"""Make the pictures of the manual from generated scenes.

    python docs/pictures                      # all into docs/images
    python docs/pictures find.jpg track.jpg   # only these
    python docs/pictures --list               # what there is

Each picture has one function, registered by its file name. A picture that needs what is not there, such as Chromium, is
left as it is, and a message says so.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from drawing import encoded
from registry import PICTURES, SkippedError

from samgeo.models import keep_freed_memory
from samgeo.storage.atomic import write_whole

FOLDER = Path(__file__).parent
IMAGES = FOLDER.parent / "images"


def main(arguments: list[str] | None = None) -> int:
    """Make the pictures that are named, or all that need neither data nor minutes of measuring, and return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="file name of a picture; all if none is given")
    parser.add_argument("--output", type=Path, default=IMAGES, metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--list", action="store_true", help="list the pictures and make none")
    options = parser.parse_args(arguments)
    load()
    unknown = set(options.names) - set(PICTURES)
    if unknown:
        parser.error(f"there is no picture {', '.join(sorted(unknown))}; --list shows them")
    chosen = [one for one in PICTURES.values() if not options.names or one.name in options.names]
    if options.list:
        print(*(f"{one.name}{' (only if named)' if one.by_name else ''}" for one in chosen), sep="\n")
        return 0
    keep_freed_memory()
    for one in chosen:
        if one.by_name and not options.names:
            print(f"{one.name}: only if named; left as it is", flush=True)
            continue
        begun = time.monotonic()
        try:
            content = encoded(one.make(), Path(one.name).suffix)
        except SkippedError as reason:
            print(f"{one.name}: {reason}; left as it is", flush=True)
            continue
        write_whole(options.output / one.name, content)
        print(f"{one.name}: {len(content) // 1000} kB in {time.monotonic() - begun:.0f} s", flush=True)
    return 0


def load() -> None:
    """Import the modules with the functions: all beside this one."""
    for path in sorted(FOLDER.glob("[!_]*.py")):
        importlib.import_module(path.stem)


if __name__ == "__main__":
    sys.exit(main())
