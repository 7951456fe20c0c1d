"""The help texts of all commands: whole sentences, and the same text for the same option."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from samgeo.cli import main

# Options whose values mean something of their own in each command.
OF_A_COMMAND = {"aoi", "boxes", "class_column", "min_iou", "min_score", "output", "polygons", "seed", "verify"}


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield all commands with the words that call them."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def options_of(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option)]


COMMANDS = {" ".join(path): command for path, command in commands()}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_described_in_sentences(name: str) -> None:
    shown = CliRunner().invoke(main, [*name.split(), "--help"])
    assert shown.exit_code == 0
    command = COMMANDS[name]
    for text in (command.get_short_help_str(200), *(option.help for option in options_of(command))):
        assert text
        assert text[0].isupper()
        assert text.endswith(".")


@pytest.mark.parametrize("group", ["", "dataset", "models"])
def test_the_list_of_commands_shows_whole_sentences(group: str) -> None:
    shown = CliRunner().invoke(main, [*group.split(), "--help"], terminal_width=80)
    listed = shown.output.partition("Commands:")[2].splitlines()
    assert len(listed) > 1
    assert all(line.endswith(".") and not line.endswith("...") for line in listed if line.strip())


def test_options_that_mean_the_same_have_the_same_text() -> None:
    texts: dict[str, set[tuple[str | None, str]]] = {}
    for command in COMMANDS.values():
        for option in options_of(command):
            if option.name not in OF_A_COMMAND:
                texts.setdefault(option.opts[-1], set()).add((option.help, option.make_metavar(click.Context(command))))
    assert [name for name, found in texts.items() if len(found) > 1] == []
    assert len(texts) > 50
