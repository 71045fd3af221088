"""The example scripts and what the page on data shows work as they stand, at small sizes."""

import importlib.util
import re
import tomllib
from dataclasses import is_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints
from unittest.mock import patch

import jax
import numpy as np
import pytest
from pydantic import BaseModel

import noether_razor as nr
from noether_razor.app.config import Config, file_layout, parse_config
from noether_razor.inference import LIKELIHOODS
from noether_razor.invariants import DICTIONARIES
from noether_razor.modelling import make_problem
from noether_razor.options import InferenceOptions, Options
from noether_razor.trajectories import Layout, read_data_file

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "data.md").read_text(encoding="utf-8")


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_every_example_is_tested():
    names = {path.stem for path in (DOCS / "examples").glob("*.py")}
    # The last two need packages of their own: tests/test_sources.py runs them.
    assert names == {
        *("library", "beyond", "own_system", "own_data", "own_quantity", "own_dictionary", "own_loop"),
        *("own_objective", "own_likelihood"),
        *("rebound_csv", "galpy_csv"),
    }


def test_library():
    values, alignment = example("library").main(steps=10, width=4)
    assert values.shape == alignment.shape == (1,) and 0 <= alignment[0] <= 1


def test_beyond():
    found = example("beyond").main()
    assert [quantity.name for quantity in found.quantities] == ["I1", "I2", "H"]
    assert (found.linear, found.independent, found.ceiling, found.decided) == (3, 2, 2, True)
    assert f"  {found.quantities[2].name} = {found.quantities[2].formula}" in (DOCS / "beyond.md").read_text()


def test_own_dictionary():
    with patch.dict(DICTIONARIES):
        found = example("own_dictionary").main()
    assert [quantity.text for quantity in found.quantities] == ["2*p1^2 + q1^4"]


def test_own_system():
    found = example("own_system").main(steps=4, width=4)
    assert set(found) == {"none", "learned", "parallelness"}
    assert 0 <= found["parallelness"] <= 1 and np.isfinite(found["learned"])


def test_own_data(tmp_path, capsys):
    module = example("own_data")
    module.write_measurements(tmp_path / "spring.csv")
    matrix = module.main(tmp_path / "spring.csv", steps=4, width=4)
    assert matrix.shape == (2, 2) and np.isfinite(matrix).all()
    printed = capsys.readouterr().out
    assert "noise of x:" in printed and "rotating frame" in printed and "12 trajectories" in printed


def test_own_quantity():
    assert np.isfinite(example("own_quantity").main(steps=2, width=4, flow_steps=2)).all()


def test_own_loop():
    values = example("own_loop").main(steps=20, width=4)
    assert len(values) == 10 and np.isfinite(values).all()


def test_own_objective():
    free, priced = example("own_objective").main(steps=60, width=4)
    assert 0 < priced < free


def test_own_likelihood():
    with patch.dict(LIKELIHOODS):
        module = example("own_likelihood")
        errors = module.main(steps=300, width=16)
        assert errors["student"] < 0.7 * errors["transitions"]
        # It is known wherever a likelihood is chosen.
        data = module.nr.simulate(
            module.nr.Oscillators(), jax.random.key(0), trajectories=4, transitions=9, dt=0.2
        )
        chosen = replace(
            Options(), inference=InferenceOptions(likelihood="student", noise_variance="learned")
        )
        problem = make_problem(data, chosen)
        assert isinstance(problem.observations, module.HeavyTailed)
        assert problem.likelihood.text.startswith("transitions with heavy-tailed noise")
        assert np.isfinite(LIKELIHOODS["student"].noise_floor(2, 0.1, 1))


@pytest.mark.parametrize(
    "page", [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda p: p.name
)
def test_what_a_page_names_exists(page):
    """Public names of the library, scripts, configurations and tests."""
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`nr\.(\w+)", text))
    assert named <= set(nr.__all__), named - set(nr.__all__)
    paths = set(re.findall(r"`(?:\S* )?((?:scripts|configs|tests|docs)/[\w/]+(?:\.\w+)?)[` ]", text))
    missing = {path for path in paths if not (DOCS.parent / path).exists()}
    assert not missing


def test_the_csv_of_the_page_can_be_read(tmp_path):
    (text,) = blocks("csv")
    (tmp_path / "mine.csv").write_text(text)
    data, notes = read_data_file(tmp_path / "mine.csv")
    assert data.lengths.tolist() == [3, 2] and data.dof == 2 and notes == ()


def test_the_configuration_of_the_page_is_one(tmp_path):
    text, likelihood = blocks("toml")
    assert parse_config(tomllib.loads(likelihood)).inference.window_steps == 8
    tables = tomllib.loads(text)
    layout = file_layout(parse_config(tables))
    assert layout.velocities == ("vx", "vy") and layout.ignore == ("comment",)
    table = {key: value for key, value in tables["data"].items() if key != "file"}
    assert Layout.parse(table) == layout


@pytest.mark.parametrize("block", blocks("python"))
def test_the_arrays_of_the_page_can_be_read(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "data.md", "exec"), {})
    (path,) = tmp_path.iterdir()
    data, _ = read_data_file(path)
    assert data.dof == 1 and data.lengths[0] == 3


def test_the_keys_of_the_page_are_those_of_a_layout():
    rows = re.findall(r"^\| `(.*?) \|", PAGE, re.MULTILINE)
    named = set(re.findall(r"(?:columns\.)?(\w+)", " ".join(row.split(" |")[0] for row in rows)))
    # Whether messages name keywords of Python is no key.
    assert named == {field for field in Layout.__dataclass_fields__} - {"keywords"}


def keys(table: type, prefix: str = "") -> set[str]:
    """The dotted keys of a configuration; a list of tables, a table of sets and the columns are one key."""
    found: set[str] = set()
    kinds: dict[str, Any] = (
        {name: item.annotation for name, item in table.model_fields.items()}
        if issubclass(table, BaseModel)
        else get_type_hints(table)
    )
    for name, kind in kinds.items():
        table_of_its_own = isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind))
        if name != "columns" and table_of_its_own:
            found |= keys(kind, f"{prefix}{name}.")
        else:
            found.add(f"{prefix}{name}")
    return found


def test_the_page_on_configurations_lists_every_key():
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z_.]+`(?:, `[a-z_.]+`)*) \|", page, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z_.]+)`", row)}
    assert named - {"training.rates"} == keys(Config)
