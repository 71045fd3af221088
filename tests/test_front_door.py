"""The package and its help are there at once: what is heavy is imported when it is first used."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import noether_razor as nr

SOURCE = ast.parse(Path(nr.__file__).read_text(encoding="utf-8"))
HEAVY = {
    "diffrax",
    "flax",
    "h5py",
    "jax",
    "jaxlib",
    "matplotlib",
    "numpy",
    "numpyro",
    "optax",
    "orbax",
    "pydantic",
    "scipy",
    "sklearn",
    "sympy",
}
VERBS = (
    *("demo", "train", "discover", "evaluate", "analyse", "predict", "report", "simulate", "reproduce"),
    *("charges", "symmetries", "embed"),
)
PROGRAM = ("--version", "--help", "")
LISTED = "import sys; print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
RUN = """
import sys
from noether_razor.app.cli import main
for words in {lines}:
    sys.argv = ["noether-razor", *words.split()]
    try:
        main()
    except SystemExit:
        pass
"""


def modules_after(code: str) -> tuple[str, set[str]]:
    """What a fresh interpreter prints, and which packages it has imported then."""
    command = [sys.executable, "-c", f"{code}\n{LISTED}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout, set(done.stderr.splitlines()[-1].split())


def test_the_package_imports_nothing_heavy():
    _, modules = modules_after("import noether_razor as nr; dir(nr), nr.__version__, hasattr(nr, 'no_such')")
    assert "noether_razor" in modules and not modules & HEAVY


def test_a_name_imports_its_room():
    _, modules = modules_after("import noether_razor as nr; nr.Trajectories")
    assert "numpy" in modules and "numpyro" not in modules


def test_the_help_imports_nothing_heavy():
    printed, modules = modules_after(RUN.format(lines=PROGRAM))
    assert printed.splitlines()[0] == nr.__version__
    assert printed.count("COMMAND [ARGS]") == 2
    assert "typer" in modules and not modules & HEAVY


def test_the_help_of_every_verb_and_wrong_usage_import_nothing_heavy():
    lines = (*(f"{verb} --help" for verb in VERBS), *VERBS[1:], "no-such-verb")
    printed, modules = modules_after(RUN.format(lines=lines))
    assert all(f" {verb} [OPTIONS]" in printed for verb in VERBS)
    # Some releases of Typer read the words of a verb with pydantic.
    assert "typer" in modules and not modules & (HEAVY - {"pydantic"})


@pytest.mark.parametrize("name", nr.__all__)
def test_every_public_name_is_there(name):
    assert getattr(nr, name) is not None


def test_the_table_the_imports_for_checkers_and_all_agree():
    (checked,) = (node for node in SOURCE.body if isinstance(node, ast.If))
    imported = [
        (node.module, alias.name)
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert imported == [(room, name) for room, names in nr._ROOMS.items() for name in names]
    assert sorted(nr.__all__) == sorted(["__version__", *(name for _, name in imported)])


@pytest.mark.parametrize("room", nr._ROOMS)
def test_rooms_export_what_the_package_names(room):
    module = importlib.import_module(f"noether_razor.{room}")
    assert set(nr._ROOMS[room]) <= set(getattr(module, "__all__", dir(module)))
    assert getattr(nr, room) is module


def test_dir_shows_the_public_names_alone():
    importlib.import_module("noether_razor.app.cli")
    assert {name for name in dir(nr) if not name.startswith("__")} == set(nr.__all__) - {"__version__"}


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'Oscilators'"):
        _ = nr.Oscilators  # type: ignore[attr-defined]
