"""Every picture of the manual exists, is small, has a function that makes it, and pages with something to see have one."""

from __future__ import annotations

import importlib.util
import re
import sys

import pytest
import yaml
from manual_pages import DOCS

from samgeo.synthetic import town

ROOT = DOCS.parent
IMAGES = DOCS / "images"
MOST_BYTES = 120_000

# Pages with nothing that a generated scene can show: commands, figures and plans.
WITHOUT_PICTURE = {
    "install.md", "cli.md", "continent.md", "design.md", "medical.md", "tutorial/index.md",
}  # fmt: skip


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags name Python."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def pages_of(nav: object) -> list[str]:
    """Return the files of a part of the navigation."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(part)]


def named_pictures() -> dict[str, set[str]]:
    """Return the pictures that each page names."""
    found = {}
    for path in sorted(DOCS.rglob("*.md")):
        names = re.findall(r"!\[[^\]]*\]\((?:\.\./)*images/([^)]+)\)", path.read_text())
        found[path.relative_to(DOCS).as_posix()] = set(names)
    return found


@pytest.fixture(scope="module")
def pictures():
    """The modules that make the pictures, by name; they import each other by their short names."""
    sys.path.insert(0, str(DOCS / "pictures"))
    before = set(sys.modules)
    try:
        import drawing
        import registry

        for path in sorted((DOCS / "pictures").glob("[!_]*.py")):
            __import__(path.stem)
        yield registry, drawing
    finally:
        sys.path.remove(str(DOCS / "pictures"))
        for name in set(sys.modules) - before:
            if str(DOCS) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


def test_every_picture_that_a_page_names_exists_and_every_picture_is_named():
    named = set().union(*named_pictures().values())
    named |= set(re.findall(r"docs/images/([\w.-]+)", (ROOT / "README.md").read_text()))
    named |= set(re.findall(r"docs/images/([\w.-]+)", (ROOT / "benchmarks" / "RESULTS.md").read_text()))
    assert named == {path.name for path in IMAGES.iterdir()}


def test_every_picture_has_a_function_that_makes_it(pictures):
    registry, _ = pictures
    assert set(registry.PICTURES) == {path.name for path in IMAGES.iterdir()}


def test_pictures_are_small():
    assert {path.name: path.stat().st_size for path in IMAGES.iterdir() if path.stat().st_size > MOST_BYTES} == {}


def test_every_page_with_something_to_see_has_a_picture():
    nav = pages_of(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"])  # noqa: S506 - our own file, and a safe loader
    named = named_pictures()
    pages = {page for page in nav if not page.startswith(("api/", "decisions/", "notebooks/"))}
    assert {page for page in pages - WITHOUT_PICTURE if not named[page]} == set()
    assert {page for page in WITHOUT_PICTURE & set(named) if named[page]} == set()  # the list is not longer than it must be


def test_the_gallery_shows_the_pictures_with_a_sentence_and_a_link_each():
    entries = re.findall(
        r"^\*\*\[[^\]]+\]\(([^)#]+)(?:#[\w-]+)?\)\*\*: .+\.\n\n!\[[^\]]+\]\(images/([^)]+)\)$",
        (DOCS / "gallery.md").read_text(),
        re.MULTILINE,
    )
    assert len(entries) == len(named_pictures()["gallery.md"]) >= 18
    for page, name in entries:
        assert name in named_pictures()[page], f"{page} does not show {name}"


def test_the_program_lists_and_makes_pictures(pictures, tmp_path, capsys):
    registry, _ = pictures
    spec = importlib.util.spec_from_file_location("pictures_program", DOCS / "pictures" / "__main__.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    assert program.main(["tutorial-cluster.jpg", "--output", str(tmp_path)]) == 0
    assert re.fullmatch(r"tutorial-cluster\.jpg: \d+ kB in \d+ s\n", capsys.readouterr().out)
    assert [path.name for path in tmp_path.iterdir()] == ["tutorial-cluster.jpg"]
    assert program.main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(registry.PICTURES)
    with pytest.raises(SystemExit):
        program.main(["missing.jpg"])
    assert "there is no picture missing.jpg" in capsys.readouterr().err


def test_the_files_of_a_picture_are_removed(pictures, tmp_path, monkeypatch):
    registry, drawing = pictures
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(registry, "PICTURES", {})

    @registry.picture("dots.png")
    def dots():
        path = registry.folder() / "dots.png"
        drawing.Image.new("RGB", (8, 8), drawing.RED).save(path)
        return drawing.Image.open(path)

    @registry.picture("none.png")
    def none():
        (registry.folder() / "half.tif").write_bytes(b"")
        raise registry.SkippedError("Chromium is missing")

    assert registry.PICTURES["dots.png"].make().getpixel((3, 3)) == drawing.RED
    with pytest.raises(registry.SkippedError):
        registry.PICTURES["none.png"].make()
    assert not list(tmp_path.iterdir())


def test_a_picture_that_is_too_large_is_refused_and_outlines_are_where_the_objects_are(pictures):
    _, drawing = pictures
    scene = town((128, 128), seed=1)
    roof = scene.footprints.geometry[scene.footprints.area.idxmax()]
    painted = drawing.painted(scene, [([roof], drawing.RED)], opacity=1)
    number = scene.footprints["id"][scene.footprints.area.idxmax()]
    reddened = (drawing.np.asarray(painted) == drawing.RED).all(axis=2)
    assert reddened[scene.labels == number].mean() > 0.95
    assert reddened[scene.labels != number].mean() < 0.1
    noise = drawing.np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), dtype="uint8")
    with pytest.raises(ValueError, match="make the picture smaller"):
        drawing.encoded(drawing.Image.fromarray(noise), ".jpg")
