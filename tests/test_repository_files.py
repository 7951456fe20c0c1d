"""The files that a hosted repository reads: workflows, the issue form and the citation agree with the project."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import samgeo
from samgeo.cli import main

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def make_targets():
    """Return the names that a rule of the Makefile makes."""
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def called_targets(text):
    """Return the targets of the calls of make in some shell text, without options and variables."""
    calls = re.findall(r"(?<![\w./-])make((?: +[A-Za-z_]+=\S+)*) +([a-z][a-z-]*)", text)
    return {target for _, target in calls}


def steps(workflow):
    """Return the steps of all jobs, each with the versions of Python that its job runs on."""
    for job in workflow["jobs"].values():
        versions = job.get("strategy", {}).get("matrix", {}).get("python-version", [])
        for step in job["steps"]:
            yield step, versions


def python_versions(workflow):
    """Return the versions of Python that a workflow sets up."""
    for step, matrix in steps(workflow):
        if step.get("uses", "").startswith("actions/setup-python@"):
            asked = step["with"]["python-version"]
            yield from matrix if asked == "${{ matrix.python-version }}" else [asked]


def classified_versions():
    """Return the versions of Python that the classifiers of the project name."""
    found = (re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", one) for one in PROJECT["classifiers"])
    return [match.group(1) for match in found if match]


def test_the_workflows_check_style_tests_and_manual():
    assert [path.stem for path in WORKFLOWS] == ["docs", "lint", "tests"]
    workflows = [yaml.safe_load(path.read_text()) for path in WORKFLOWS]
    called = {target for one in workflows for step, _ in steps(one) for target in called_targets(step.get("run", ""))}
    recipe = re.search(r"^test:(.*?)(?:##|$)", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1)
    assert called == set(recipe.split())  # together they run what `make test` runs


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_make_only(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    commands = [step["run"] for step, _ in steps(workflow) if "run" in step]
    assert commands
    for command in commands:
        assert called_targets(command) & make_targets(), command
        assert called_targets(command) <= make_targets(), command
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        assert "latest" not in job["runs-on"]  # the image decides which browser the tests find


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_versions_of_python_are_those_of_the_project(path):
    versions = list(python_versions(yaml.safe_load(path.read_text())))
    assert all(isinstance(one, str) for one in versions)  # as a number, 3.10 is 3.1
    if path.stem == "tests":
        assert versions == classified_versions()
    else:
        assert [f">={one}" for one in versions] == [PROJECT["requires-python"]]


def test_the_classifiers_begin_with_the_oldest_version_of_python():
    versions = classified_versions()
    assert versions == sorted(versions, key=lambda one: int(one.split(".")[1]))
    assert PROJECT["requires-python"] == f">={versions[0]}"
    searched = re.search(r"for python in (.*?);", (ROOT / "Makefile").read_text()).group(1).split()
    assert [one.removeprefix("python") for one in searched if "." in one] == versions[::-1]


def test_the_citation_agrees_with_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert (citation["type"], citation["title"]) == ("software", PROJECT["name"])
    assert citation["version"] == samgeo.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["abstract"] == PROJECT["description"]
    assert citation["keywords"] == PROJECT["keywords"]
    assert citation["authors"] == PROJECT["authors"]
    assert "samgeo models info" in citation["message"]
    assert "info" in main.commands["models"].commands


def test_the_issue_form_asks_for_what_a_maintainer_needs():
    form = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "bug_report.yml").read_text())
    assert form["name"]
    assert form["description"]
    fields = {one["id"]: one for one in form["body"]}
    assert len(fields) == len(form["body"])
    assert {one["type"] for one in form["body"]} <= {"textarea", "input"}
    required = {name for name, one in fields.items() if one["validations"]["required"]}
    assert required == {"what", "command", "output", "version", "model"}
    assert "samgeo --version" in fields["version"]["attributes"]["description"]
    assert "samgeo models list" in fields["model"]["attributes"]["description"]
    assert "rio info" in fields["raster"]["attributes"]["description"]
    assert "list" in main.commands["models"].commands


def test_the_instructions_call_targets_that_exist():
    called = {target for name in ("CONTRIBUTING.md", "README.md") for target in named_targets((ROOT / name).read_text())}
    assert called >= {"test", "help", "demo", "check-tests"}
    assert called <= make_targets()


def named_targets(markdown):
    """Return the targets of make that code in a text of Markdown calls."""
    code = re.findall(r"`([^`\n]+)`", markdown) + re.findall(r"^ {4}(.+)$|^\$ (.+)$", markdown, re.MULTILINE)
    lines = (part for one in code for part in ([one] if isinstance(one, str) else one))
    return called_targets("\n".join(line.partition(" #")[0] for line in lines))


def test_a_release_names_what_must_agree():
    release = (ROOT / "CONTRIBUTING.md").read_text().partition("## How to release")[2]
    for name in ("samgeo/__init__.py", "CITATION.cff", "CHANGELOG.md", "make test", "make clean", "git tag"):
        assert name in release, name
