"""`noether-razor embed`: files in, a run folder with coordinates and a report out; bad input in one line."""

import csv
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import run

from noether_razor.app.config import ConfigError, EmbeddingConfig, parse_tables
from noether_razor.embedding import VariationalManifoldEmbedding
from noether_razor.embedding.map_doubts import empty_stretch, sharp_turn, torn, uneven_scatter
from noether_razor.embedding.selection import _split
from noether_razor.trajectories import DataFileError, read_points

CONFIG = """
seed = 3
[data]
file = "{file}"
ignore = ["z"]
[embedding]
components = 1
latent = "circle"
degree = 2
iterations = 20
"""


def write_ring(path: Path, count: int = 80) -> np.ndarray:
    draws = np.random.default_rng(0)
    angles = draws.uniform(-np.pi, np.pi, count)
    points = np.stack([3 + np.cos(angles), np.sin(angles)], axis=1) + 0.05 * draws.normal(size=(count, 2))
    rows = [f"{x:.6g},{y:.6g},{k},{'even' if k % 2 else 'odd'}" for k, (x, y) in enumerate(points)]
    path.write_text("x,y,z,label\n" + "\n".join(rows) + "\n")
    return points


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> tuple[Path, str]:
    """A run folder of a ring, chosen among latent spaces, and what the command printed."""
    folder = tmp_path_factory.mktemp("embed")
    write_ring(folder / "ring.csv")
    done = run(
        *("embed", folder / "ring.csv", "--components", 1, "--ignore", "z", "--out", folder / "run"),
        *("--set", "embedding.iterations=30", "--set", "embedding.chart=pca"),
    )
    assert done.returncode == 0, done.stderr
    return folder / "run", done.stdout


def test_the_folder_holds_coordinates_numbers_and_a_report(embedded):
    folder, printed = embedded
    with (folder / "embedding.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 80 and list(rows[0]) == [
        "z",
        "label",
        "z1",
        "u1",
        "log_density",
        "distance",
        "beyond_edge",
    ]
    # What the map does not use still says which row is which.
    assert [row["z"] for row in rows[:2]] == ["0", "1"] and rows[1]["label"] == "even"
    answer = json.loads((folder / "embedding.json").read_text())
    assert answer["latent"] == "circle" and answer["names"] == ["x", "y"]
    assert answer["r2"] > 0.98 and answer["noise"] == pytest.approx(0.05, rel=0.3)
    assert "column label is text: passed over" in answer["notes"]
    # Along a ring the length is nearly the angle.
    length, angle = (np.array([float(row[key]) for row in rows]) for key in ("z1", "u1"))
    assert np.allclose(length, angle * answer["metric_scales"][0], atol=0.2)
    assert np.mean([float(row["log_density"]) for row in rows]) == pytest.approx(answer["log_likelihood"])
    assert "80 points of 2 columns near a closed curve of length 6." in printed
    assert "under turns of x and y about (3.0" in printed or "under turns of x and y about (2.9" in printed
    # The rotation about the ring's own centre is found, not that about the origin.
    assert answer["symmetries"]["algebra"]["name"].startswith("so(2)")
    (turn,), (shift,) = answer["symmetries"]["matrices"], answer["symmetries"]["vectors"]
    assert np.allclose(np.linalg.solve(turn, np.negative(shift)), [3, 0], atol=0.2)
    names = {path.stem for path in (folder / "figures").glob("*.png")}
    assert names == {"data", "rebuilt", "currents", "likelihood"}
    report, page = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    for text in (report, page):
        assert "Embedding of ring.csv" in text and "left out" not in text.lower()
    assert all(f"figures/{name}.png" in report for name in names)
    assert page.count("<svg") == 4 and "http" not in page.replace("http://www.w3.org", "")
    assert "What was compared" in page


def test_the_same_again_is_the_same_and_another_run_is_refused(embedded):
    folder, _ = embedded
    before = (folder / "embedding.csv").read_bytes()
    done = run("embed", folder.parent / "ring.csv", "--out", folder)
    assert done.returncode == 2 and "holds another run" in done.stderr
    assert (folder / "embedding.csv").read_bytes() == before


def test_a_configuration_and_a_map_of_two_dimensions(tmp_path):
    write_ring(tmp_path / "ring.csv", 60)
    (tmp_path / "ring.toml").write_text(CONFIG.format(file=(tmp_path / "ring.csv").as_posix()))
    done = run("embed", tmp_path / "ring.toml", "--out", tmp_path / "one", "--quiet")
    assert done.returncode == 0 and done.stdout == ""
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert config["seed"] == 3 and config["embedding"]["latent"] == "circle"
    # What the command line says goes before the file.
    done = run(
        *("embed", tmp_path / "ring.toml", "--components", 2, "--latent", "uniform"),
        *("--out", tmp_path / "two", "--seed", 1),
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads((tmp_path / "two" / "embedding.json").read_text())
    assert answer["components"] == 2 and answer["options"]["seed"] == 1 and answer["selection"] is None
    assert (tmp_path / "two" / "figures" / "map.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("embed", "none.csv"), "none.csv: no such file"),
        (("embed", "ring.csv", "--components", "0"), "components"),
        (
            ("embed", "ring.csv", "--components", "4"),
            "ring.csv: embedding.components: got 4, but it has 3 columns of numbers",
        ),
        (("embed", "ring.csv", "--latent", "torus"), "embedding.latent: "),
        (("embed", "ring.csv", "--ignore", "zz"), "has no column 'zz'"),
        (("embed", "bad.toml"), "embedding.degre: unknown key, did you mean degree?"),
        (("embed", "gap.csv"), "line 3, column y: got no value, expected a number"),
        (("embed", "ring.csv", "--set", "embedding.stiffness=-1"), "embedding.stiffness: "),
        (("embed", "huge.csv"), "huge.csv: X has values up to 2e+300, expected at most 1e+100"),
        (("embed", "one.csv", "--components", "1"), "one.csv: got n_samples = 1, expected at least 2"),
        (("embed", "two.csv", "--components", "1"), "two.csv: select: got 2 rows, expected at least 10"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_ring(tmp_path / "ring.csv", 20)
    (tmp_path / "bad.toml").write_text('[data]\nfile = "ring.csv"\n[embedding]\ndegre = 3\n')
    (tmp_path / "gap.csv").write_text("x,y\n1,2\n3,\n4,5\n")
    (tmp_path / "huge.csv").write_text("x,y\n1e300,2\n2e300,4\n1,1\n")
    (tmp_path / "one.csv").write_text("x,y\n1,2\n")
    (tmp_path / "two.csv").write_text("x,y\n1,2\n3,5\n")
    before = sorted(tmp_path.iterdir())
    done = run(*words)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_configuration_does_not_say_is_chosen():
    data = {"file": "x.csv"}
    chosen = parse_tables(EmbeddingConfig, {"data": data, "embedding": {"components": 1}}, "test")
    assert chosen.embedding.options()["latent"] == "auto" and chosen.embedding.options()["select"]
    given = parse_tables(EmbeddingConfig, {"data": data, "embedding": {"degree": 4}}, "test")
    assert given.embedding.options()["latent"] == "uniform" and not given.embedding.options()["select"]
    linear = parse_tables(EmbeddingConfig, {"data": data, "embedding": {"density": "gaussian"}}, "test")
    assert not linear.embedding.options()["select"]
    with pytest.raises(ConfigError, match="test: data: field required"):
        parse_tables(EmbeddingConfig, {}, "test")


class TestPoints:
    def test_text_with_and_without_names(self, tmp_path):
        (tmp_path / "plain.txt").write_text("# a comment\n1 2\n3 4.5\n\n")
        found = read_points(tmp_path / "plain.txt")
        assert found.names == ("x1", "x2") and np.array_equal(found.values, [[1, 2], [3, 4.5]])
        (tmp_path / "named.csv").write_text("a;b;kind\n1;2;u\n3;4;v\n")
        found = read_points(tmp_path / "named.csv", columns=["b"])
        assert found.names == ("b",) and np.array_equal(found.values, [[2], [4]])

    def test_decimal_commas_where_they_can_be_nothing_else(self, tmp_path):
        (tmp_path / "german.csv").write_text("\ufeffa;b\n1,5;-2\n3,25;4,0e1\n", encoding="utf-8")
        assert np.array_equal(read_points(tmp_path / "german.csv").values, [[1.5, -2], [3.25, 40]])
        # With a point elsewhere, commas part thousands.
        (tmp_path / "other.csv").write_text("a;b\n1,204;1.5\n3,512;2.5\n")
        found = read_points(tmp_path / "other.csv")
        assert found.names == ("b",)
        assert found.notes == (
            "column a is passed over: numbers like 1,204 need a decimal point and nothing else",
        )

    def test_arrays(self, tmp_path):
        points = np.arange(6.0).reshape(3, 2)
        np.save(tmp_path / "p.npy", points)
        np.savez(tmp_path / "p.npz", label=np.arange(3), points=points)
        assert np.array_equal(read_points(tmp_path / "p.npy").values, points)
        found = read_points(tmp_path / "p.npz")
        assert np.array_equal(found.values, points)
        assert found.notes == ("the array points is taken, passed over: label",)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.csv", b"", "the file is empty"),
            ("a.csv", b"x,y\n", "no rows"),
            ("a.csv", b"x,x\n1,2\n", "two columns are named 'x'"),
            ("a.csv", b"x,y\n1,2\n1,2,3\n1,2\n", "line 3: 3 fields, expected 2"),
            ("a.csv", b"x,y\n1,2\n1,oops\n1,2\n", "line 3, column y: got 'oops'"),
            ("a.csv", b"k\na\nb\n", "has no column of numbers"),
            ("a.csv", b"x;y\n1,204;u\n3,512;v\n", "has no column of numbers"),
            ("a.csv", b"x,y\n\xff,2\n", "not UTF-8"),
            ("a.npy", b"nothing", "damaged"),
        ],
    )
    def test_what_cannot_be_read_is_said(self, name, content, message, tmp_path):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataFileError, match=message):
            read_points(tmp_path / name)

    def test_arrays_that_are_no_points(self, tmp_path):
        for array, message in (
            (np.zeros(3), r"expected an array \(rows, columns\), got arr_0 \(3,\)"),
            (np.array([["a"]]), "must hold real numbers"),
            (np.array([[np.nan, 1.0]]), "row 0, column x1: got nan"),
        ):
            np.save(tmp_path / "p.npy", array)
            with pytest.raises(DataFileError, match=message):
                read_points(tmp_path / "p.npy")


class TestPage:
    PAGE = (Path(__file__).parents[1] / "docs" / "embedding.md").read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"^```{language}\n(.*?)^```$", self.PAGE, re.DOTALL | re.MULTILINE)

    def test_what_it_shows_in_python_works(self, capsys):
        names: dict[str, Any] = {"__name__": "page"}
        for block in self.blocks("python"):
            exec(compile(block, "embedding.md", "exec"), names)
        points, back = names["X"], names["back"]
        assert np.mean((points - back) ** 2) < 0.03**2
        printed = capsys.readouterr().out.splitlines()
        assert "so(2)" in printed and printed[-1].startswith("so(3)")

    def test_its_configuration_is_one(self):
        (block,) = self.blocks("toml")
        assert parse_tables(EmbeddingConfig, tomllib.loads(block), "page").data.ignore == ("label",)

    def test_its_table_lists_every_option(self):
        rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", self.PAGE, re.MULTILINE)
        named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
        assert named == set(VariationalManifoldEmbedding().get_params())


class TestDoubts:
    """Files on which a map alone would mislead."""

    def doubts(self, points: np.ndarray, **options: Any) -> str:
        model = VariationalManifoldEmbedding(1, degree=1, iterations=20, **options).fit(points)
        return "\n".join(model.diagnostics_["doubts"])

    def test_columns_and_rows_are_named(self):
        draws = np.random.default_rng(0)
        line = draws.uniform(size=(60, 1)) * [1.0, 2.0] + 0.02 * draws.normal(size=(60, 2))
        assert self.doubts(line) == ""
        assert "constant columns tell the map nothing: x3" in self.doubts(np.pad(line, ((0, 0), (0, 1))))
        assert "30 of 90 rows repeat others" in self.doubts(np.concatenate([line, line[:30]]))
        far = np.concatenate([line, [[1e3, 0.5]]])
        assert "row 61 (x1)" in self.doubts(far) and "spreads over" not in self.doubts(far)
        assert "column x2 spreads over" in self.doubts(line * [1.0, 100.0])
        coded = np.where(draws.uniform(size=(60, 2)) < 0.1, -999, line)
        assert "the value -999 stands" in self.doubts(coded)
        numbered = np.concatenate([line, np.arange(60.0)[:, None]], axis=1)
        assert "x3 only grows or only falls" in self.doubts(numbered)
        assert "exact combinations of each other: x1, x2, x3" in self.doubts(
            np.concatenate([line, line.sum(axis=1, keepdims=True)], axis=1)
        )
        assert "a bound, no estimate" in self.doubts(line[:, :1] * [1.0, 2.0])

    def test_points_on_no_curve_are_told_from_those_on_one(self):
        """Clusters have no curve through them that a kernel density does not better."""
        draws = np.random.default_rng(1)
        options = {"select": True, "chart": "pca", "latent": "uniform"}
        centres = draws.permutation(np.repeat(10 * draws.normal(size=(5, 3)), 20, axis=0))
        clusters = self.doubts(centres + 0.05 * draws.normal(size=(100, 3)), **options)
        assert "one smooth surface of this dimension does not describe the points" in clusters
        line = draws.uniform(size=(100, 1)) * [1.0, 2.0, -1.0] + 0.02 * draws.normal(size=(100, 3))
        assert "one smooth surface" not in self.doubts(line, **options)

    def test_a_fit_that_was_cut_short_says_so(self):
        points = np.random.default_rng(2).uniform(-1, 1, size=(80, 1))
        curve = np.concatenate([points, points**2, points**3], axis=1)
        model = VariationalManifoldEmbedding(1, degree=6, chart="pca", iterations=2).fit(curve)
        assert not model.diagnostics_["converged"]
        assert "stopped after 2 iterations" in "\n".join(model.diagnostics_["doubts"])

    def test_equal_rows_are_held_out_together(self):

        points = np.random.default_rng(3).integers(0, 12, size=(100, 1)).astype(float)
        out, kept = _split(points, 0)
        assert 0 < len(out) <= 20 and len(out) + len(kept) == 100
        assert not set(points[out, 0]) & set(points[kept, 0])

    def test_unlike_units_are_brought_together(self, tmp_path):
        draws = np.random.default_rng(4)
        t = np.linspace(-np.pi, np.pi, 81)[1:]
        ring = np.stack([np.cos(t), np.sin(t)], axis=1) + 0.03 * draws.normal(size=(80, 2))
        ring = ring * [1e3, 1e-2]
        np.savetxt(tmp_path / "units.csv", ring, delimiter=",", header="force,strain", comments="")
        done = run(
            *("embed", tmp_path / "units.csv", "--components", 1, "--latent", "circle", "--degree", 2),
            *("--standardise", "--out", tmp_path / "run"),
        )
        assert done.returncode == 0, done.stderr
        assert "in standard deviations of the columns: force 7" in done.stdout
        assert "under turns of force and strain about (" in done.stdout
        assert "no settings were compared" in done.stdout


def test_a_figure_of_eight_is_followed_around(tmp_path):
    """The chart of all its rows folds; the map that held-out rows judged does not."""
    draws = np.random.default_rng(3)
    t = draws.uniform(-np.pi, np.pi, 400)
    eight = np.stack([np.sin(t), np.sin(2 * t) / 2], axis=1) + 0.02 * draws.normal(size=(400, 2))
    model = VariationalManifoldEmbedding(1, latent="circle", select=True).fit(eight)
    assert model.noise_ == pytest.approx(0.02, rel=0.2)
    assert model.diagnostics_["log_likelihood"] > model.diagnostics_["chosen"]["validation"] - 0.2


class TestMapDoubts:
    """What the places of points on a map say against it, on maps made by hand."""

    def test_neighbours_that_a_map_tears_apart(self):
        draws = np.random.default_rng(0)
        angles = draws.uniform(-np.pi, np.pi, 200)
        ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        none, turn = np.zeros(1), np.array([2 * np.pi])
        assert torn(ring, angles[:, None], 0.01, turn) == []
        # On a line, the ring is cut.
        (said,) = torn(ring, angles[:, None], 0.01, none)
        assert "of 200 rows have near neighbours far away on the map" in said
        sheet = draws.uniform(size=(400, 2))
        assert torn(sheet, sheet, 0.01, np.zeros(2)) == []
        folded = np.where(draws.uniform(size=(400, 1)) < 0.1, sheet + 3, sheet)
        assert len(torn(sheet, folded, 0.01, np.zeros(2))) == 1

    def test_a_stretch_without_rows(self):
        draws = np.random.default_rng(1)
        even = draws.uniform(0, 1, 300)
        assert empty_stretch(even, 0.01) == []
        (said,) = empty_stretch(np.where(even > 0.5, even + 2, even), 0.01)
        assert "no rows lie on the curve from z1 = 0.4" in said or "from z1 = 0.5" in said

    def test_a_turn_sharper_than_the_noise(self):
        along = np.linspace(0, 2 * np.pi, 200)
        ring = np.stack([np.cos(along), np.sin(along)], axis=1)
        assert sharp_turn(along, ring, 0.1) == []
        (said,) = sharp_turn(0.1 * along, 0.1 * ring, 0.1)
        assert "within 0.1, less than 2 times the noise" in said

    def test_scatter_that_one_noise_does_not_describe(self):
        draws = np.random.default_rng(2)
        left = 0.1 * draws.normal(size=(400, 3)) * [0, 1, 1]
        assert uneven_scatter(left, 1, 0.1, ["a", "b", "c"]) == []
        (said,) = uneven_scatter(left * [0, 1, 5], 1, 0.35, ["a", "b", "c"])
        assert "along c" in said
        few = np.concatenate([left, draws.uniform(-2, 2, size=(20, 3)) * [0, 1, 1]])
        noise = float(np.sqrt(np.mean(few[:, 1:] ** 2)))
        (said,) = uneven_scatter(few, 1, noise, ["a", "b", "c"])
        assert "is made by few rows: the typical one lies about 0.1" in said


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path):
    write_ring(tmp_path / "ring.csv", 20)
    (tmp_path / "file").write_text("")
    done = run("embed", tmp_path / "ring.csv", "--out", tmp_path / "file" / "run")
    assert done.returncode == 2 and "cannot be written: Not a directory" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
