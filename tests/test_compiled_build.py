"""The compiled library is built out of its sources where that is possible, and elsewhere there is a warning and no library."""

import ctypes
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "hatch_build.py"
SOURCE = """
#include <immintrin.h>
#include "number.h"
extern "C" float first_of_fma(const float *values) {
    const __m256 eight = _mm256_loadu_ps(values);
    return _mm256_cvtss_f32(_mm256_fmadd_ps(eight, eight, _mm256_set1_ps(NUMBER)));
}
"""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("hatch_build", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with two small sources and a header, on a machine that the library is for."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "maxsize", 2**63 - 1)
    (tmp_path / "first.cpp").write_text(SOURCE)
    (tmp_path / "second.cpp").write_text('extern "C" int second() { return 2; }\n')
    (tmp_path / "number.h").write_text("#define NUMBER 1.0f\n")
    return tmp_path


@pytest.fixture
def compiler(script):
    """Skips where no library can be built."""
    if sys.platform == "win32" or platform.machine() != "x86_64":
        pytest.skip("the library is for x86-64 processors with Linux or macOS")
    try:
        script.compiler()
    except script.NotBuiltError as error:
        pytest.skip(str(error))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def build_quietly(script, folder):
    """Build where nothing may go wrong; return the file's number, which a new file changes, and its bytes."""
    assert script.build(folder, pytest.fail)
    library = folder / "steps.so"
    return library.stat().st_ino, library.read_bytes()


def warning_of(script, folder):
    """Build where that must fail; return the one warning."""
    warnings = []
    assert not script.build(folder, warnings.append)
    (warning,) = warnings
    assert "encoding and decoding are slower on CPUs" in warning
    return warning


def has_fma():
    path = Path("/proc/cpuinfo")
    return path.exists() and {"avx2", "fma"} <= set(path.read_text().split())


def test_one_library_has_the_functions_of_all_sources(compiler, script, folder):
    build_quietly(script, folder)
    assert names(folder) == ["first.cpp", "number.h", "second.cpp", "steps.so"]
    library = ctypes.CDLL(str(folder / "steps.so"))
    assert library.second() == 2
    library.first_of_fma.restype = ctypes.c_float
    if has_fma():
        assert library.first_of_fma((ctypes.c_float * 8)(*range(3, 11))) == 10


@pytest.mark.parametrize("changed", ["first.cpp", "number.h"])
def test_a_library_is_built_again_when_a_source_or_a_header_is_newer(compiler, script, folder, changed):
    first = build_quietly(script, folder)
    assert build_quietly(script, folder) == first  # nothing has changed
    path = folder / changed
    path.write_text(path.read_text().replace("1.0f", "2.0f").replace("first_of_fma", "first_of_eight"))
    later = (folder / "steps.so").stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(later, later))
    assert build_quietly(script, folder)[1] != first[1]


def test_without_a_change_no_compiler_is_needed(compiler, script, folder, monkeypatch):
    first = build_quietly(script, folder)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert build_quietly(script, folder) == first


def test_what_a_compiler_says_is_in_the_warning(compiler, script, folder):
    (folder / "first.cpp").write_text("not_a_type x;\n")
    warning = warning_of(script, folder)
    assert "not_a_type" in warning
    assert "Install a C++ compiler" in warning
    assert "steps.so" not in names(folder)


def test_a_compiler_that_fails_leaves_nothing_and_no_old_library(script, folder, monkeypatch):
    before = names(folder)
    (folder / "steps.so").write_bytes(b"of older sources")
    os.utime(folder / "steps.so", (0, 0))
    monkeypatch.setenv("CXX", shutil.which("false") or "false")
    assert "false" in warning_of(script, folder)
    assert names(folder) == before


def test_a_compiler_that_writes_nothing_has_failed(script, folder, monkeypatch):
    before = names(folder)
    monkeypatch.setenv("CXX", shutil.which("true") or "true")
    warning_of(script, folder)
    assert names(folder) == before


def test_without_a_compiler_the_warning_says_what_to_do(script, folder, monkeypatch, tmp_path_factory):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    warning = warning_of(script, folder)
    assert "no C++ compiler was found" in warning
    assert "Install a C++ compiler" in warning
    monkeypatch.setenv("CXX", "no-such-compiler --option")
    assert "no-such-compiler, which CXX names" in warning_of(script, folder)
    assert "steps.so" not in names(folder)


def test_no_compiler_is_advised_where_none_would_help(script, folder, monkeypatch):
    for name, value in ("machine", "aarch64"), ("machine", "AMD64"):
        monkeypatch.setattr(platform, name, lambda value=value: value)
        warning = warning_of(script, folder)
        assert "x86-64" in warning
        assert "Install" not in warning


def test_the_script_runs_alone_and_never_fails(tmp_path):
    sources = tmp_path / "samgeo" / "models" / "compiled"
    sources.mkdir(parents=True)
    (sources / "first.cpp").write_text("int first;\n")
    copy = shutil.copy(SCRIPT, tmp_path)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-I", "-S", str(copy)],  # without any package, such as hatchling
        env={**os.environ, "CXX": "no-such-compiler"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "was not built" in done.stderr
    assert names(sources) == ["first.cpp"]


def test_the_library_is_built_for_wheels_and_ignored_by_git(script):
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "custom" in wheel["hooks"]
    library = (script.FOLDER / script.LIBRARY).relative_to(ROOT).as_posix()
    assert f"/{library}*" in (ROOT / ".gitignore").read_text().splitlines()
    assert f"LIBRARY := {library}\n" in (ROOT / "Makefile").read_text()
