"""Each page of the tutorial runs from its first block to its last, prints what it says, and is short enough to be read."""

from __future__ import annotations

import re

import click
import pytest
from manual_pages import DOCS, Reader, blocks_of, commands_of, same_text

from samgeo.cli import main

FOLDER = DOCS / "tutorial"
PAGES = sorted(path.stem for path in FOLDER.glob("[0-9]*.md"))

# What a test does not wait for: minutes of training become one step.
REPLACED = {"06-your-place": {"minutes=None, steps=30": "minutes=None, steps=1, threads=1"}}

# These run by default, in some seconds. The others take a minute together, and the notebooks call most of the same functions.
QUICK = {"02-clicks", "04-training-set", "05-judge"}


def page(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text()


def test_there_are_ten_pages_and_the_first_one_lists_them():
    assert [name[:2] for name in PAGES] == [f"{number:02}" for number in range(1, 11)]
    table = re.findall(r"^\| \[(\d+)\]\((.+?)\.md\) \| (.+?) \|", page("index"), re.MULTILINE)
    titles = [page(name).partition("\n")[0].removeprefix("# ") for name in PAGES]
    assert [(f"{number}. {title}", name) for number, name, title in table] == list(zip(titles, PAGES, strict=True))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_short_and_has_a_picture_a_task_and_a_way_on(name):
    text = page(name)
    assert 60 <= len(text.splitlines()) <= 125
    assert re.search(r"^!\[.+\]\(\.\./images/.+\)$", text, re.MULTILINE)
    assert "\n**Task.** " in text
    assert "\n## Where to go on\n" in text


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PAGES])
def test_a_page_runs_and_prints_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("samgeo.training.finetuning.page.SHOWN", 1)
    Reader(replaced=REPLACED.get(name, {})).follow(page(name))


@pytest.mark.parametrize("name", PAGES)
def test_the_python_of_a_page_compiles_and_its_commands_have_the_options_that_it_names(name):
    text = page(name)
    for block in blocks_of(text):
        if block.language == "python":
            compile(block.text, name, "exec")
    commands = [command for block in blocks_of(text) if block.language == "console" for command, _ in commands_of(block.text)]
    commands += re.findall(r"`(samgeo [a-z][^`]+)`", text)  # those in a sentence
    for command in commands:
        words = command.split()
        if words[0] == "samgeo":
            assert set(re.findall(r"--[\w-]+", command)) <= options_of(words[1:]), command


def options_of(words: list[str]) -> set[str]:
    """Return the options of the command that some words begin with."""
    command = main
    while isinstance(command, click.Group):
        command, words = command.commands[words[0]], words[1:]
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.slow
def test_the_training_of_the_tutorial_is_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reader = Reader()
    reader.follow(page("06-your-place"))
    assert reader.names["done"].accepted


def test_printed_texts_are_compared():
    assert same_text("3 of 10\n...\nend 0.50", "3 of 10\na\nb\nend 0.51\n")
    assert same_text("x  1\n", "x 1")
    assert not same_text("3 of 10", "7 of 10")
    assert not same_text("3 of 10", "3 in 10")
    assert not same_text("one", "one\ntwo")
    assert not same_text("one\ntwo", "one")
    assert not same_text("recall 0.50", "recall 0.60")


def test_blocks_and_commands_are_found():
    text = "a\n\n```python\nx = 1\n```\n\n```console\n$ samgeo a \\\n    b\nsaid\n$ dask c\n```\n"
    first, second = blocks_of(text)
    assert (first.language, first.text, first.line) == ("python", "x = 1\n", 4)
    assert list(commands_of(second.text)) == [("samgeo a     b", "said"), ("dask c", "")]


def test_a_page_that_prints_something_else_or_fails_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="it printed\n4"):
        Reader().follow("```python\nprint(2 + 2)\n```\n\n```text\n9\n```\n")
    with pytest.raises(AssertionError, match="no command of samgeo"):
        Reader().follow("```console\n$ rm town.tif\n```\n")
    with pytest.raises(AssertionError, match=r"missing\.tif"):
        Reader().follow("```console\n$ samgeo show missing.tif -o a.png\n```\n")
    with pytest.raises(AssertionError, match="does not say"):
        Reader(replaced={"steps=7": ""}).follow("```python\nx = 1\n```\n")
