"""Tracked training in loops of all kinds, and the verbs that do it for a configuration."""

import json
import os
import re
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from small_networks import SYMMETRIES, Network, batches, loss
from test_cli import assert_bad_input, run

from noether_razor.app.config import ConfigError, LearningConfig, load_learning
from noether_razor.app.config.load import parse_tables
from noether_razor.app.runs import charges_run
from noether_razor.learning import (
    Labelled,
    OptimiserError,
    TrainedState,
    charges_of,
    digits,
    find_symmetries,
    make_optimizer,
    read_charges,
    read_labelled,
    track_charges,
)
from noether_razor.training import Checkpoint
from noether_razor.trajectories import DataFileError

DOCS = Path(__file__).parents[1] / "docs"
OPTIMISER = optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.05, 0.9))


class TestLoops:
    def test_two_lines_in_a_loop_of_nnx(self):
        model = Network(jnp.float32)
        tracked = nnx.Optimizer(model, track_charges(OPTIMISER, SYMMETRIES, every=10), wrt=nnx.Param)

        @nnx.jit
        def step(model, optimizer, batch):
            optimizer.update(model, nnx.grad(loss)(model, batch))

        x, y = batches(21, jnp.float32)
        for n in range(21):
            step(model, tracked, (x[n], y[n]))
        followed = read_charges(tracked, SYMMETRIES)
        assert max(float(one.charge.violation.max()) for one in followed) < 1e-5
        squares = np.asarray(jnp.sum(model.layers[0].kernel[...] ** 2, axis=0))
        np.testing.assert_allclose(followed[0].charge.value, squares, rtol=1e-6)
        assert "scale of layer 0: charge" in str(followed[0])

    def test_updates_are_those_of_the_optimiser(self):
        params = nnx.state(Network(jnp.float32), nnx.Param)
        tracked = track_charges(OPTIMISER, SYMMETRIES, every=2)
        plain, followed = OPTIMISER.init(params), tracked.init(params)
        for n in range(3):
            gradients = jax.tree.map(lambda leaf, n=n: jnp.cos(n + leaf), params)
            wanted, plain = OPTIMISER.update(gradients, plain, params)
            updates, followed = tracked.update(gradients, followed, params)
            for ours, theirs in zip(jax.tree.leaves(updates), jax.tree.leaves(wanted), strict=True):
                np.testing.assert_array_equal(ours, theirs)

    def test_a_loop_of_linen(self):
        """A dictionary of parameters, the statistics of the normalisation beside it."""

        class Net(linen.Module):
            @linen.compact
            def __call__(self, x):
                x = linen.BatchNorm(use_running_average=False, epsilon=0.0)(linen.Dense(6)(x))
                x = linen.Dense(5)(linen.relu(x))
                return linen.Dense(3)(linen.relu(x))

        def of(params, statistics, batch):
            variables = {"params": params, "batch_stats": statistics}
            logits, new = net.apply(variables, batch[0], mutable=["batch_stats"])
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch[1])
            return losses.mean(), new["batch_stats"]

        net, rng = Net(), np.random.default_rng(0)
        x, y = rng.normal(size=(20, 32, 4)).astype(np.float32), rng.integers(0, 3, (20, 32))
        rows = list(zip(x, y, strict=True))
        variables = net.init(jax.random.key(0), x[0])
        params: Any = variables["params"]
        statistics: Any = variables["batch_stats"]
        report = find_symmetries(params, lambda p, batch: of(p, statistics, batch)[0], rows, rows=150)
        assert {family.name: family.count for family in report.exact} == {
            "scale of Dense_0 (kernel)": 6,
            "rescaling between BatchNorm_0 and Dense_1": 6,
            "rescaling between Dense_1 and Dense_2": 5,
            "common shift of the outputs of Dense_2 by each input": 5,
            "common shift of all of Dense_2.bias": 1,
        }
        assert [str(part) for part in report.no_effect] == ["Dense_0.bias"]
        optimizer = track_charges(OPTIMISER, report.charges, every=1)

        @jax.jit
        def step(params, statistics, state, batch):
            gradients, statistics = jax.grad(of, has_aux=True)(params, statistics, batch)
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), statistics, state

        state = optimizer.init(params)
        for batch in rows:
            params, statistics, state = step(params, statistics, state, batch)
        followed = {one.symmetry.name: one.charge for one in read_charges(state, report.charges)}
        assert max(float(charge.violation.max()) for charge in followed.values()) < 1e-5
        kernels = {name: np.asarray(part["kernel"]) for name, part in params.items() if "kernel" in part}
        squares = {name: np.sum(kernel**2, axis=0) for name, kernel in kernels.items()}
        np.testing.assert_allclose(followed["scale of Dense_0 (kernel)"].value, squares["Dense_0"], rtol=1e-6)
        into = squares["Dense_1"] + np.square(np.asarray(params["Dense_1"]["bias"]))
        out = np.sum(kernels["Dense_2"] ** 2, axis=1)
        np.testing.assert_allclose(
            followed["rescaling between Dense_1 and Dense_2"].value, into - out, rtol=1e-5, atol=1e-6
        )

    def test_a_compiled_run_is_the_same_as_without(self):
        graph, params, rest = nnx.split(Network(jnp.float32), nnx.Param, ...)
        x, y = batches(20, jnp.float32)
        ends = []
        for optimizer in (OPTIMISER, track_charges(OPTIMISER, SYMMETRIES, every=10)):
            # As users compile: the older emitters of XLA, which these tests use, round some otherwise.
            @partial(jax.jit, compiler_options={"xla_cpu_use_fusion_emitters": True})
            def step(params, state, batch, optimizer=optimizer):
                of = jax.grad(lambda here: loss(nnx.merge(graph, here, rest, copy=True), batch))
                updates, state = optimizer.update(of(params), state, params)
                return optax.apply_updates(params, updates), state

            at, state = params, optimizer.init(params)
            for batch in zip(x, y, strict=True):
                at, state = step(at, state, batch)
            ends.append(jax.tree.leaves(at))
        for ours, theirs in zip(*ends, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_checkpoints_keep_the_charges(self, tmp_path):
        graph, params, rest = nnx.split(Network(jnp.float32), nnx.Param, ...)
        tracked = track_charges(OPTIMISER, SYMMETRIES, every=1)
        x, y = batches(8, jnp.float32)

        @jax.jit
        def step(state, batch):
            gradients = jax.grad(lambda at: loss(nnx.merge(graph, at, rest, copy=True), batch))(state.params)
            updates, optimizer = tracked.update(gradients, state.optimizer, state.params)
            return TrainedState(state.step + 1, optax.apply_updates(state.params, updates), rest, optimizer)

        start = TrainedState(jnp.zeros((), jnp.int32), params, rest, tracked.init(params))
        state = start
        for n in range(4):
            state = step(state, (x[n], y[n]))
        Checkpoint(tmp_path).save(state, {})
        found = Checkpoint(tmp_path).restore(start)
        assert found is not None
        ends = []
        for last in (state, found[0]):
            for n in range(4, 8):
                last = step(last, (x[n], y[n]))
            ends.append(jax.tree.leaves(charges_of(last.optimizer, SYMMETRIES)))
        for ours, theirs in zip(*ends, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_a_broken_normalisation_is_named(self):
        model = Network(jnp.float32, epsilon=10.0)
        optimizer = nnx.Optimizer(model, track_charges(OPTIMISER, SYMMETRIES, every=1), wrt=nnx.Param)
        x, y = batches(1, jnp.float32)
        nnx.jit(lambda m, o, b: o.update(m, nnx.grad(loss)(m, b)))(model, optimizer, (x[0], y[0]))
        with pytest.warns(UserWarning, match=r"scale of layer 0, unit \d by \d+%"):
            read_charges(optimizer, SYMMETRIES)

    def test_other_symmetries_than_those_followed_are_refused(self):
        state = track_charges(OPTIMISER, SYMMETRIES).init(nnx.state(Network(jnp.float32), nnx.Param))
        with pytest.raises(OptimiserError, match="other symmetries"):
            charges_of(state, SYMMETRIES[:1])
        with pytest.raises(OptimiserError, match="track_charges"):
            charges_of(OPTIMISER.init({"a": jnp.ones(2)}), SYMMETRIES)
        with pytest.raises(ValueError, match="needs the parameters"):
            track_charges(OPTIMISER, ()).update({"a": jnp.ones(2)}, state)

    @pytest.mark.slow
    def test_sharded_parameters(self):
        """On two devices of a CPU, which a process of its own has."""
        code = """
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import NamedSharding, PartitionSpec
from noether_razor.learning import Member, Symmetry, charges_of, track_charges
mesh = jax.make_mesh((2,), ("x",))
scale = Symmetry("scale", "columns", (Member("w", (1,)),), 4)
tracked = track_charges(optax.sgd(0.1, 0.9), [scale], every=1)
def of(p, x):
    y = x @ p["w"]
    y = (y - y.mean(0)) / jnp.sqrt(y.var(0))
    return jnp.sum(jnp.sin(3 * y))
def go(put):
    p = put({"w": jax.random.normal(jax.random.key(0), (6, 4))})
    state = tracked.init(p)
    step = jax.jit(lambda p, s, x: (lambda u: (optax.apply_updates(p, u[0]), u[1]))(
        tracked.update(jax.grad(of)(p, x), s, p)))
    for n in range(5):
        p, state = step(p, state, jax.random.normal(jax.random.key(n), (32, 6)))
    return charges_of(state, [scale])[0], p["w"]
alone, _ = go(lambda p: p)
shared, w = go(lambda p: jax.device_put(p, NamedSharding(mesh, PartitionSpec(None, "x"))))
assert len(w.sharding.device_set) == 2
np.testing.assert_allclose(alone.value, shared.value, rtol=1e-5)
assert float(shared.violation.max()) < 1e-5
"""
        environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


SMALL = {
    "model": {"layers": [6, 5], "norm": ["batch", "none"]},
    "optimizer": {"kind": "momentum", "learning_rate": 0.05, "momentum": 0.9, "decay": 5e-3},
    "training": {"steps": 120, "batch": 32},
    "search": {"rows": 60},
}


def config(**tables: Any) -> LearningConfig:
    return parse_tables(LearningConfig, SMALL | tables, "test")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled rows of four numbers."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    kinds = np.array(["a", "b", "c"])[np.clip(np.rint(x[:, 0] * x[:, 1] + 1), 0, 2).astype(int)]
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    rows = [",".join([*(f"{v:.6f}" for v in row), kind]) for row, kind in zip(x, kinds, strict=True)]
    path.write_text("\n".join(["p,q,r,s,kind", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def written(table: Path) -> Path:
    tables = SMALL | {"data": {"kind": "csv", "file": table.name}}
    path = table.with_name("small.toml")
    lines = []
    for name, keys in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


class TestVerbs:
    def test_charges(self, written, tmp_path):
        result = run("charges", written, "--out", tmp_path / "run")
        assert result.returncode == 0, result.stderr
        assert "scale of layer 0 (kernel)" in result.stdout and "steady angle predicted" in result.stdout
        names = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*")}
        assert {"charges.json", "symmetries.json", "report.md", "report.html", "config.json"} <= names
        assert {f"figures/{k}.png" for k in ("charges", "budget", "effective_rate", "angle")} <= names
        found = json.loads((tmp_path / "run" / "charges.json").read_text())
        assert max(entry["violation"] for entry in found["families"]) < 1e-3
        assert max(entry["momentum_error"] for entry in found["families"]) < 1e-2
        page = (tmp_path / "run" / "report.html").read_text()
        assert page.count("<svg") == 5 and "left out" not in page.lower()
        again = run("charges", written, "--out", tmp_path / "run")
        assert_bad_input(again, "already holds a run")

    @pytest.mark.slow
    def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(self, table, tmp_path):
        training = SMALL["training"] | {"checkpoint_seconds": 1e-6}
        settings = config(data={"kind": "csv", "file": str(table)}, training=training)
        told: list[int] = []
        with pytest.raises(KeyboardInterrupt):
            charges_run(
                settings, tmp_path / "a", progress=lambda step, _: told.append(step), interrupted=lambda: True
            )
        assert told == [60]
        charges_run(settings, tmp_path / "a", resume=True, progress=lambda step, _: told.append(step))
        assert told == [60, 120]
        charges_run(settings, tmp_path / "b")

        def killed(step: int, loss: float) -> None:
            if step == 120:
                raise MemoryError

        # Between two checkpoints, without a word.
        with pytest.raises(MemoryError):
            charges_run(settings, tmp_path / "c", progress=killed)
        charges_run(settings, tmp_path / "c", resume=True)
        found = [json.loads((tmp_path / name / "charges.json").read_text()) for name in "abc"]
        for entry in found:
            del entry["seconds"]
        assert found[0] == found[1] == found[2]

    def test_symmetries(self, written, tmp_path):
        result = run("symmetries", written, "--out", tmp_path / "run", "--set", "search.rows=100")
        assert result.returncode == 0, result.stderr
        assert "rescaling between" in result.stdout
        found = json.loads((tmp_path / "run" / "symmetries.json").read_text())
        assert found["unnamed"] == {"diagonal": 0, "translation": 0}
        assert (tmp_path / "run" / "figures" / "spectrum.png").exists()

    @pytest.mark.slow
    def test_linear_symmetries(self, written, tmp_path):
        linear = run(
            "symmetries",
            written,
            "--out",
            tmp_path / "linear",
            "--set",
            "search.method=linear",
            "--set",
            "model.layers=[3]",
            "--set",
            "model.norm=none",
            "--set",
            "search.rows=120",
        )
        assert linear.returncode == 0, linear.stderr
        assert "Lie algebra: " in linear.stdout

    @pytest.mark.parametrize(
        ("overrides", "parts"),
        [
            (("model.kind=transformer",), ("model.kind", "transformer")),
            (('model.norm=["none"]',), ("one normalisation for each of 2 layers",)),
            (("model.activation=rellu",), ("relu",)),
            (("model.width=3",), ("model.width", "unknown key")),
            (("seed=-1",), ("seed", "-1")),
            (("optimizer.kind=rmsprop",), ("optimizer.kind", "rmsprop")),
            (("data.label=nothing",), ("no column 'nothing'",)),
            (("data.kind=npz",), ("kind npz does not suit",)),
            (("optimizer.momentum=0",), ("optimizer", "needs a momentum above 0")),
            (("search.method=linear", "search.rows=3"), ("features need as many rows",)),
            (("data.file=nowhere.csv",), ("nowhere.csv", "no such file")),
            (("data.kind=digits",), ("file is needed",)),
            (("model.kind=cnn",), ("too small",)),
            (("training.batch=100000",), ("training.batch: got 100000, but there are", "rows to train on")),
            (("optimizer.learning_rate=1e12", "optimizer.decay=1"), ("not finite at step", "charge")),
        ],
    )
    def test_bad_input_is_one_line(self, written, tmp_path, overrides, parts):
        words = [word for text in overrides for word in ("--set", text)]
        assert_bad_input(run("charges", written, "--out", tmp_path / "run", *words), *parts)
        # A folder would stand in the way of the next try.
        assert not (tmp_path / "run").exists()

    def test_the_shipped_configuration_is_the_one_of_the_page(self):
        settings = load_learning("learning/digits.toml")
        assert settings.optimizer.kind == "momentum" and settings.model.layers == (64, 64, 32, 32)
        text = (DOCS / "learning.md").read_text(encoding="utf-8")
        block = next(part for part in text.split("```toml\n")[1:])
        assert parse_tables(LearningConfig, tomllib.loads(block.split("```")[0]), "page") == settings

    def test_another_configuration_in_the_folder_is_refused(self, written, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps(config(seed=3).model_dump(mode="json")))
        result = run("charges", written, "--out", tmp_path, "--resume")
        assert_bad_input(result, "another configuration", "data.")
        with pytest.raises(ConfigError):
            config(optimizer={"kind": "sgdd"})


@pytest.mark.slow
def test_the_code_of_the_page_works(capsys):
    page = (DOCS / "learning.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in page.split("```python\n")[1:]:
        exec(compile(block.split("```")[0], "learning.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "scale of first (kernel) (16 units)" in printed and "28 linear symmetries" in printed
    assert max(float(one.charge.violation.max()) for one in names["followed"]) < 1e-3


class TestData:
    def test_digits(self):
        data = digits()
        assert data.features == 64 and data.classes == 10 and len(data.inputs) == 1438
        batches = data.batches(25, 128, 0)
        assert batches.shape == (25, 128)
        # All rows that fill batches come before any comes again.
        assert len(np.unique(batches[:11])) == 11 * 128
        noisy = data.with_noise(0.3, 0)
        assert 0.2 < np.mean(noisy.labels != data.labels) < 0.34

    def test_files(self, table, tmp_path):
        data = read_labelled(table, "kind")
        assert isinstance(data, Labelled) and (data.features, data.classes) == (4, 3)
        np.savez(
            tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(40, 2, 2)), y=np.arange(40) % 4
        )
        assert read_labelled(tmp_path / "rows.npz").classes == 4
        # Whole numbers are one class however they are written, and text may stand in quotes.
        rows = [f'{k % 3};"{k % 2}.0"' for k in range(12)] + ["1;1"]
        (tmp_path / "semicolons.csv").write_text("\n".join(["a;b", *rows]))
        assert read_labelled(tmp_path / "semicolons.csv").classes == 2

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("a,b\n1,x\n", "has 1 rows"),
            ("a,b\nx,1\n", "line 2, column a: got 'x', expected a number"),
            ("", "the file is empty"),
            ("a,b\n1\n2,3\n4,5\n", "line 2: 1 fields, expected 2"),
            ("a,b\n" + "1,x\n2,\n" * 8, "line 3, column b: got no value, expected a class"),
            ("a,b\n" + "1,x\n2,x\n" * 8, "all labels are x"),
            ("a,b\n" + "1,x\n1,y\n" * 8, "all inputs are constant"),
            ("b\n" + "x\ny\n" * 8, "no column besides b"),
            ("a,b\n" + "".join(f"1,{k / 3}\n" for k in range(16)), "all inputs are constant"),
            ("a,b\n" + "".join(f"{k},{k / 3}\n" for k in range(16)), "16 different labels"),
        ],
    )
    def test_text_that_cannot_be_used_is_refused(self, tmp_path, text, words):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(DataFileError, match=re.escape(words)):
            read_labelled(tmp_path / "bad.csv")

    def test_arrays_that_cannot_be_used_are_refused(self, tmp_path):
        x, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 4
        for arrays, words in (
            ({"x": x}, "needs arrays x and y, has x"),
            ({"x": x, "y": y[:9]}, "got (40, 2) and (9,)"),
            ({"x": x[:, 0], "y": y}, "got (40,) and (40,)"),
            ({"x": np.where(x > 2, np.nan, x), "y": y}, "x: must hold finite real numbers"),
            ({"x": x + 0j, "y": y}, "x: must hold finite real numbers"),
            ({"x": x, "y": np.eye(4)[y]}, "got (40, 2) and (40, 4)"),
            ({"x": x, "y": np.where(y > 2, np.nan, y)}, "y: must hold finite numbers"),
        ):
            np.savez(tmp_path / "bad.npz", **arrays)  # type: ignore[arg-type]
            with pytest.raises(DataFileError, match=re.escape(words)):
                read_labelled(tmp_path / "bad.npz")
        for damaged in (b"", b"no archive"):
            (tmp_path / "bad.npz").write_bytes(damaged)
            with pytest.raises(DataFileError, match="npz"):
                read_labelled(tmp_path / "bad.npz")

    @pytest.mark.parametrize("kind", ["sgd", "momentum", "nesterov", "sgdw", "adam", "adamw", "lion"])
    def test_every_kind_of_optimiser_can_be_followed(self, kind):
        optimizer = make_optimizer(kind, 0.1, momentum=0.5, decay=0.1, cosine_steps=10, clip=1.0)
        assert charges_of(track_charges(optimizer, []).init({"a": jnp.ones(2)}), []) == []
        with pytest.raises(ValueError, match="rmsprop"):
            make_optimizer("rmsprop", 0.1)
