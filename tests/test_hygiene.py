"""What is written in two places says the same in both, and no file speaks of one machine."""

import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import click
import pytest

from samgeo.cli import main

ROOT = Path(__file__).parent.parent
CONDA_NAMES = {"torch": "pytorch"}


def tracked_text():
    """The text files of the repository: what git tracks, and would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if path.is_file() and path != Path(__file__):
            content = path.read_bytes()
            if b"\0" not in content:
                yield name, content.decode()


def test_no_file_names_a_place_on_one_machine():
    place = re.compile(r"(?<![\w.])/(?:work|root|farm)/|\.\./shared")
    found = [f"{name}: {match.group()}" for name, text in tracked_text() for match in place.finditer(text)]
    assert found == []


def requirement(line):
    return re.match(r"[A-Za-z0-9_-]+", line).group().lower().replace("_", "-"), line.replace("_", "-").lower()


def test_the_conda_environment_has_what_the_package_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    conda = dict(map(requirement, re.findall(r"^  - ([\w>=.-]+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE)))
    for line in [*project["dependencies"], f"python{project['requires-python']}"]:
        name, text = requirement(line)
        name = CONDA_NAMES.get(name, name)
        assert conda[name].endswith(text.partition(">=")[2]), name


def test_every_dependency_has_a_pinned_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = {requirement(line)[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")}
    extras = project["optional-dependencies"]
    needed = {requirement(line)[0] for line in [*project["dependencies"], *extras["test"], *chain(*extras.values())]}
    assert needed - {"samgeo"} <= pins


def commands(group, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


@pytest.mark.parametrize(("name", "command"), list(commands(main)), ids=lambda value: value if isinstance(value, str) else "")
def test_the_manual_has_every_option_of_every_command(name, command):
    manual = (ROOT / "docs" / "cli.md").read_text()
    top = name.split()[0]
    section = re.search(rf"^## samgeo {top}$(.*?)(?=^## |\Z)", manual, re.MULTILINE | re.DOTALL).group(1)
    assert f"samgeo {name}" in section
    options = {option for each in command.params for option in each.opts if option.startswith("--")}
    missing = {option for option in options if not re.search(rf"{option}\b", section)}
    assert missing == set()
