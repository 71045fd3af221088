"""Masses and a field that are learned together with a network, and configurations with velocities."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import noether_razor.modelling.canonical as learned
from noether_razor.app.config import ConfigError, build_system, load_config, simulate_data
from noether_razor.app.runs import train_run
from noether_razor.bracket import poisson_matrix
from noether_razor.bracket.coordinates import Entries
from noether_razor.bracket.forms import momentum_form
from noether_razor.bracket.free_field import Spectrum
from noether_razor.bracket.mechanical import MechanicalNetwork
from noether_razor.discovery import RunFolder
from noether_razor.inference import ELBO, Estimator, Posterior
from noether_razor.modelling import learned_bracket, with_canonical_momenta
from noether_razor.networks import HamiltonianNetwork
from noether_razor.options import NetworkOptions, TrainingOptions
from noether_razor.paper.bracket import SYSTEMS, measured
from noether_razor.phase_space import hamiltonian_field
from noether_razor.training import NotLearnedError, Training, fit
from noether_razor.trajectories import Trajectories, Transitions

CONFIGS = {path.stem: path for path in Path("configs/bracket").glob("*.toml") if path.stem != "base"}


def network(
    degree: int = 0, units: tuple[float, ...] = (1.0,) * 4, entries: float = 0.0
) -> MechanicalNetwork:
    form = momentum_form(2, degree)
    made = MechanicalNetwork(
        form, np.eye(form.size), np.array(units), layers=2, width=6, rngs=nnx.Rngs(jax.random.key(1))
    )
    made.entries[...] = entries * jax.random.normal(jax.random.key(2), made.entries.shape)
    return made


class TestNetwork:
    @pytest.mark.parametrize("degree", [0, 2])
    def test_moves_as_canonical_coordinates_do(self, degree):
        """Whatever the entries, and whatever the scale of p: so they cannot shrink what is compared."""
        model, state = network(degree, entries=0.1), jnp.asarray([0.3, -0.2, 0.5, 0.4])
        theta = model.parameters()
        scale = 7.0

        def canonical(x):
            return jnp.concatenate([x[:2], scale * model.form.momenta(x, theta)])

        def columns(y):
            rest = model.form.momenta(jnp.concatenate([y[:2], jnp.zeros(2)]), theta)
            return jnp.concatenate(
                [y[:2], jnp.linalg.solve(model.form.masses(y[:2], theta), y[2:] / scale - rest)]
            )

        field = hamiltonian_field(lambda y: scale * model.hamiltonian(columns(y)))
        back = jax.jit(lambda x: jax.jacfwd(columns)(canonical(x)) @ field(canonical(x)))(state)
        ours = model.undamped(state)
        assert_allclose(columns(canonical(state)), state, rtol=1e-5)
        assert_allclose(ours, back, rtol=1e-4, atol=1e-5)
        assert_allclose(ours[:2], state[2:], rtol=1e-5)

    def test_units_and_friction(self):
        units = np.array([2.0, 0.5, 4.0, 1.0])
        plain, scaled = network(entries=0.1), network(units=(2.0, 0.5, 4.0, 1.0), entries=0.1)
        state = jnp.asarray([0.3, -0.2, 0.5, 0.4])
        assert_allclose(scaled(state / units) * units, plain(state), rtol=1e-5)
        rubbed = plain.undamped(state) - plain(state)
        assert_allclose(rubbed, plain.entries[-1] * jnp.asarray([0, 0, 0.5, 0.4]), atol=1e-6)

    def test_gradient_of_the_bound_and_resume(self):
        random = np.random.default_rng(0)
        rows = Transitions(*(random.normal(size=(12, 4)) for _ in range(2)), dt=np.full(12, 0.1))
        posterior = Posterior(network(entries=0.1))
        objective = ELBO.of(rows, Estimator(weight_samples=2))
        graph, state = nnx.split(posterior)

        @jax.jit
        def loss(entries):
            own = jax.tree.map(lambda x: x, state)
            own["network"]["entries"][...] = entries
            return objective(nnx.merge(graph, own), jax.random.key(0), batch).negative_elbo()

        batch = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), rows)
        at = jnp.asarray(posterior.network.entries[...])  # type: ignore[attr-defined]
        slope, step = np.asarray(jax.grad(loss)(at)), 1e-2
        for k, one in enumerate(np.eye(len(at), dtype=np.float32)):
            numeric = (loss(at + step * one) - loss(at - step * one)) / (2 * step)
            assert float(numeric) == pytest.approx(slope[k], rel=0.03, abs=0.03 * float(np.abs(slope).max()))
        training, key = Training(steps=4, log_every=2), jax.random.key(3)
        states = []
        whole = fit(posterior, rows, objective, training, key=key, callback=lambda r: states.append(r.state))
        again = fit(posterior, rows, objective, training, key=key, resume=lambda _: states[0])
        ends = [nnx.state(one.posterior) for one in (whole, again)]
        jax.tree.map(assert_array_equal, *ends)
        assert np.abs(np.asarray(ends[0]["network"]["entries"][...]) - at).min() > 0


class TestAnswer:
    def test_simplest_kind(self):
        form, errors = momentum_form(2, 0), np.diag([0.01, 0.01, 0.01]) ** 2
        names = [(term.plane, term.field) for term in form.terms]
        assert names == [((0, 1), False), ((1, 1), False), ((0, 1), True)]
        for theta, kind in (
            ([0.02, 0.03, 0.04], "canonical"),
            ([0.02, 1.7, 0.04], "masses"),
            ([0.02, 0.04, 0.75], "field"),
            ([0.0, 1.7, 0.75], "natural"),
            ([0.4, 0.0, 0.0], "natural"),
        ):
            entries = Entries(form, np.array(theta), errors)
            found = learned._Learned(entries, (0.0, 1.0), 1.0, Spectrum(np.zeros(6), 1))
            assert learned._simplest(found, alike=True) == kind
            # Masses of a length and of an angle are never one.
            other = {"canonical": "masses", "field": "natural"}.get(kind, kind)
            assert learned._simplest(found, alike=False) == other
            assert learned.kind_basis(form, "field").shape == (3, 1)
        assert not found.without_entries().entries.theta.any()

    def test_parts_of_the_rows(self):
        rows = Transitions(np.arange(24.0).reshape(12, 2), np.zeros((12, 2)), np.ones(12))
        parts = [learned.without_part(rows, k) for k in range(learned.GROUPS)]
        assert {part.size for part in parts} == {10}
        assert sum(0.0 not in np.asarray(part.states) for part in parts) == 1

    def test_few_steps(self, monkeypatch):
        recipe = replace(
            learned.RECIPE, network=NetworkOptions(layers=2, width=8), training=TrainingOptions(steps=20)
        )
        monkeypatch.setattr(learned, "RECIPE", recipe)
        data = measured(SYSTEMS["field 1.5"], 0)[:8]
        with pytest.raises(NotLearnedError, match="times the noise"):
            learned_bracket(data)
        monkeypatch.setattr(learned, "MISFIT", np.inf)
        monkeypatch.setattr(learned, "_spectrum", lambda *_: Spectrum(np.zeros(6), 1))
        found = learned_bracket(data, "natural")
        assert found.kind == "natural" and found.network and found.to_json()["network"]
        assert found.sd[2, 3] > 0 and "a network does" in repr(found)
        made = found.canonical(data)
        assert made.canonical is not None and made.names == ("q1", "q2", "p1", "p2")
        monkeypatch.setattr(learned, "_spectrum", lambda *_: Spectrum(np.zeros(6), 2))
        with pytest.raises(NotLearnedError, match="preserves 2 matrices"):
            learned_bracket(data, "natural")
        with pytest.raises(NotLearnedError, match="too few"):
            learned_bracket(data[:2])

    def test_where_it_is_asked(self, monkeypatch):
        """Only where no formula fits; where it fails, the answer says so."""
        asked = []

        def failing(*_, **__):
            asked.append(1)
            raise NotLearnedError("nothing")

        monkeypatch.setattr(learned, "learned_bracket", failing)
        states = np.zeros((8, 51, 4))
        states[..., 0] = np.random.default_rng(0).normal(size=(8, 51))
        data = Trajectories(np.tile(np.arange(51.0), (8, 1)), states, bracket="field")
        unknown = poisson_matrix(data)
        assert unknown.kind == "unknown"
        with_canonical_momenta(data)
        assert not asked, "rows on a surface tell nothing to a network"
        monkeypatch.setattr(learned, "poisson_matrix", lambda *_, **__: replace(unknown, why="no formula"))
        made = with_canonical_momenta(data).canonical
        assert made is not None and "no formula; with a network: nothing" in made.answer["text"]
        with_canonical_momenta(replace(data, bracket="constant"))
        assert asked == [1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_field_with_forces_that_no_formula_follows(seed):
    config = load_config(CONFIGS["waves"], [f"seed={seed}"])
    found = with_canonical_momenta(simulate_data(config, build_system(config.system)))
    assert found.canonical is not None
    answer = found.canonical.answer
    value, sd = (np.array(answer[key])[2, 3] for key in ("matrix", "sd"))
    assert answer["kind"] == "field" and answer["network"]
    assert abs(value - 1.5) < max(4 * sd, 0.01) < 0.05


OF_TABLE = {
    "control": "equal masses",
    "masses": "masses 1, 2.7",
    "field": "field 1.5",
    "rotating": "rotating frame, 0.4",
    "changing_field": "field 1 + r^2/2",
    "polar": "polar coordinates",
    "double_pendulum": "double pendulum, 0.25",
    "space": "masses and field in space",
}
"""Systems of the table, by their configurations."""


class TestConfigs:
    @pytest.mark.usefixtures("double_precision")
    @pytest.mark.parametrize("name", sorted(CONFIGS))
    def test_have_the_equations_of_the_table(self, name):
        config = load_config(CONFIGS[name])
        assert config.data.velocities and config.inference.noise_variance == "learned"
        if name not in OF_TABLE:
            assert name == "waves"
            return
        system = build_system(config.system)
        states = jnp.asarray(0.3 * np.random.default_rng(0).normal(size=(5, 2 * system.dof)))

        def columns(y):
            return jnp.concatenate([y[: system.dof], jax.grad(system.hamiltonian)(y)[system.dof :]])

        def both(y):
            return jax.jvp(columns, (y,), (hamiltonian_field(system.hamiltonian)(y),))

        rows, moved = jax.jit(jax.vmap(both))(states)
        assert_allclose(moved, SYSTEMS[OF_TABLE[name]].field(np.asarray(rows)), atol=1e-9)

    @pytest.mark.parametrize("change", ["data.noise_on=targets", "data.file=mine.csv"])
    def test_velocities_are_of_simulated_states(self, change):
        with pytest.raises(ConfigError, match=r"data\.velocities is for simulated data"):
            load_config(CONFIGS["masses"], [change])


def test_a_configuration_is_trained(tmp_path):
    sizes = "network.width=8", "network.layers=2", "inference.group_samples=2", "symmetry.quantities=1"
    changes = (*sizes, "training.steps=4", "data.bracket=masses", "evaluation.weight_samples=2")
    folder = RunFolder(tmp_path / "run")
    config = load_config(CONFIGS["masses"], changes)
    summary = train_run(config, folder)
    assert summary["data"]["names"] == ["q1", "q2", "p1", "p2"] and summary["test"]["held out"]["mse"] > 0
    assert train_run(config, folder, resume=True) == summary


def test_potential_depends_on_positions_alone():
    assert isinstance(network().potential, HamiltonianNetwork)
    slopes = jax.jit(jax.jacfwd(network(units=(1.0, 2.0, 3.0, 4.0))))(jnp.asarray([0.1, 0.2, 0.3, 0.4]))
    assert_allclose(slopes[:2], np.diag([3.0, 2.0]) @ np.eye(4)[2:], atol=1e-6)
