"""Quantities of degree <= 2 give their Lie algebra by name in any coordinates, and never a wrong name."""

import functools
import json
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noether_razor.lie import LieAlgebra, bracket, lie_algebra
from noether_razor.quadratic_forms import Quadratics
from noether_razor.systems import NBody

Quantities = tuple[np.ndarray, np.ndarray]


def symplectic(dof: int) -> np.ndarray:
    return np.kron([[0.0, 1.0], [-1.0, 0.0]], np.eye(dof))


def written(dof: int, *forms: Mapping[str, float]) -> Quantities:
    """Quantities written as {"q1 p2": 1, "p1": 2}."""
    matrices, vectors = np.zeros((len(forms), 2 * dof, 2 * dof)), np.zeros((len(forms), 2 * dof))
    for k, form in enumerate(forms):
        for monomial, coefficient in form.items():
            indices = [dof * (name[0] == "p") + int(name[1]) - 1 for name in monomial.split()]
            if len(indices) == 1:
                vectors[k, indices[0]] += coefficient
            else:
                matrices[k, indices[0], indices[1]] += coefficient
                matrices[k, indices[1], indices[0]] += coefficient
    return matrices, vectors


def joined(*sets: Quantities) -> Quantities:
    return np.concatenate([matrices for matrices, _ in sets]), np.concatenate(
        [vectors for _, vectors in sets]
    )


def conserved(hessian: np.ndarray, gradient: np.ndarray | None = None) -> Quantities:
    """All quantities of degree <= 2 that commute with H = x^T A x / 2 + b^T x."""
    dim = len(hessian)
    gradient = np.zeros(dim) if gradient is None else gradient
    row, column = np.triu_indices(dim)
    units = np.eye(dim)
    monomials = Quadratics(
        np.concatenate([np.einsum("ki,kj->kij", units[row], units[column]) * 1.0, np.zeros((dim, dim, dim))]),
        np.concatenate([np.zeros((len(row), dim)), units]),
        np.zeros(len(row) + dim),
    )
    monomials = monomials._replace(matrices=monomials.matrices + monomials.matrices.mT)
    change = bracket(monomials, Quadratics(hessian, gradient, np.zeros(())))
    images = np.concatenate(
        [change.matrices[:, row, column], change.vectors, change.constants[:, None]], axis=1
    )
    directions, size, _ = np.linalg.svd(images)
    null = directions[:, np.sum(size > 1e-9) :].T
    matrices, vectors = np.einsum("km,mij->kij", null, monomials.matrices), null @ monomials.vectors
    return np.where(np.abs(matrices) < 1e-12, 0.0, matrices), np.where(np.abs(vectors) < 1e-12, 0.0, vectors)


def separable(stiffness: list[float], inverse_mass: list[float]) -> Quantities:
    """H = sum_i (inverse_mass_i p_i^2 + stiffness_i q_i^2) / 2."""
    return conserved(np.diag(np.array([*stiffness, *inverse_mass], dtype=float)))


def oscillators(*frequencies: float) -> Quantities:
    return separable(list(frequencies), list(frequencies))


def springs(laplacian: np.ndarray, dimension: int = 1) -> Quantities:
    """H = p^2 / 2 + q^T L q / 2 for points in some dimension."""
    stiffness = np.kron(laplacian, np.eye(dimension))
    return conserved(
        np.block([[stiffness, np.zeros_like(stiffness)], [np.zeros_like(stiffness), np.eye(len(stiffness))]])
    )


def n_body(bodies: int, dimension: int) -> Quantities:
    known = NBody(masses=tuple(1.0 + k for k in range(bodies)), dimension=dimension).known_quantities()
    return np.asarray(known.matrices[...], float), np.asarray(known.vectors[...], float)


def angular_momentum(dimension: int, *, sign: float = -1.0) -> Quantities:
    """q_i p_j - q_j p_i; boosts q_i p_n + q_n p_i with the last coordinate for sign +1."""
    pairs = [(i, j) for i in range(1, dimension + 1) for j in range(i + 1, dimension + 1)]
    return written(
        dimension,
        *({f"q{i} p{j}": 1.0, f"q{j} p{i}": sign if j == dimension else -1.0} for i, j in pairs),
    )


def magnetic() -> Quantities:
    """H = ((p1 + q2 / 2)^2 + (p2 - q1 / 2)^2) / 2."""
    first, second = np.array([0, 0.5, 1, 0]), np.array([-0.5, 0, 0, 1])
    return conserved(np.outer(first, first) + np.outer(second, second))


def momenta(dof: int) -> Quantities:
    return written(dof, *({f"p{i}": 1.0} for i in range(1, dof + 1)))


def positions(dof: int) -> Quantities:
    return written(dof, *({f"q{i}": 1.0} for i in range(1, dof + 1)))


def quadratics(dof: int) -> Quantities:
    names = [f"{kind}{i}" for kind in "qp" for i in range(1, dof + 1)]
    return written(dof, *({f"{a} {b}": 1.0} for k, a in enumerate(names) for b in names[k:]))


def shifted(quantities: Quantities, origin: float) -> Quantities:
    """The same quantities about another point of phase space, constants left out."""
    matrices, vectors = quantities
    return matrices, vectors - matrices @ np.full(vectors.shape[1], origin)


RING = 2 * np.eye(3) - np.roll(np.eye(3), 1, axis=0) - np.roll(np.eye(3), -1, axis=0)
COMPLETE = 3 * np.eye(3) - np.ones((3, 3))
SU2 = (
    {"q1 p2": 1, "q2 p1": -1},
    {"q1 q2": 1, "p1 p2": 1},
    {"q1 q1": 1, "p1 p1": 1, "q2 q2": -1, "p2 p2": -1},
)
SL2 = ({"q1 p2": 1}, {"q2 p1": 1}, {"q1 p1": 1, "q2 p2": -1})
LENGTHS = (
    {f"q{i} q{i}": 1 for i in (1, 2, 3)},
    {f"p{i} p{i}": 1 for i in (1, 2, 3)},
    {f"q{i} p{i}": 1 for i in (1, 2, 3)},
)
ROOT = np.sqrt(2.0)

# Every system of the suite and what else must be recognised: quantities, name, dimension with the constant.
SYSTEMS: dict[str, tuple[Callable[[], Quantities], str, int]] = {
    "one oscillator": (lambda: oscillators(1), "u(1)", 1),
    "isotropic 2": (lambda: oscillators(1, 1), "u(2)", 4),
    "isotropic 3": (lambda: oscillators(1, 1, 1), "u(3)", 9),
    "frequencies 1, sqrt 2": (lambda: oscillators(1, ROOT), "u(1)^2", 2),
    "frequencies 1, 1, sqrt 2": (lambda: oscillators(1, 1, ROOT), "u(2)+u(1)", 5),
    "two pairs": (lambda: oscillators(1, 1, ROOT, ROOT), "u(2)+u(2)", 8),
    "signs + -": (lambda: oscillators(1, -1), "u(1,1)", 4),
    "signs + + -": (lambda: oscillators(1, 1, -1), "u(2,1)", 9),
    "signs + + - -": (lambda: oscillators(1, 1, -1, -1), "u(2,2)", 16),
    "2 equal unstable": (lambda: separable([-1, -1], [1, 1]), "gl(2,R)", 4),
    "3 equal unstable": (lambda: separable([-1] * 3, [1] * 3), "gl(3,R)", 9),
    "saddle and centre": (lambda: separable([-1, 1], [1, 1]), "u(1)+R", 2),
    "central force, plane": (lambda: angular_momentum(2), "so(2)", 1),
    "central force, space": (lambda: angular_momentum(3), "so(3)", 3),
    "central force, 4 dimensions": (lambda: angular_momentum(4), "so(4)", 6),
    "central force, 5 dimensions": (lambda: angular_momentum(5), "so(5)", 10),
    "central force, 6 dimensions": (lambda: angular_momentum(6), "so(6)", 15),
    "central force, 2 + 1 dimensions": (lambda: angular_momentum(3, sign=1.0), "sl(2,R)", 3),
    "axial force": (lambda: written(3, {"q1 p2": 1, "q2 p1": -1}), "so(2)", 1),
    "uniform field": (magnetic, "(sl(2,R) semidirect heisenberg)+u(1)", 7),
    "ring of 3 springs": (lambda: springs(RING), "u(2)+R^2", 6),
    "2-body, plane": (lambda: n_body(2, 2), "n-body(2)", 7),
    "3-body, plane": (lambda: n_body(3, 2), "n-body(2)", 7),
    "3-body, space": (lambda: n_body(3, 3), "n-body(3)", 15),
    "harmonic 3-body, plane": (lambda: springs(COMPLETE, 2), "free(2)+u(4)", 22),
    "free, line": (lambda: separable([0], [1]), "R^2", 2),
    "free, plane": (lambda: separable([0, 0], [1, 1]), "free(2)", 6),
    "free, space": (lambda: separable([0, 0, 0], [1, 1, 1]), "free(3)", 12),
    "Toda": (
        lambda: written(
            3, {"p1": 1, "p2": 1, "p3": 1}, {f"p{i} p{j}": 1 for i in (1, 2, 3) for j in (1, 2, 3)}
        ),
        "R^2",
        2,
    ),
    "se(2)": (lambda: joined(momenta(2), angular_momentum(2)), "se(2)", 3),
    "se(3)": (lambda: joined(momenta(3), angular_momentum(3)), "se(3)", 6),
    "one pair": (lambda: joined(positions(1), momenta(1)), "heisenberg(1)", 3),
    "three pairs": (lambda: joined(positions(3), momenta(3)), "heisenberg(3)", 7),
    "a pair and a position": (lambda: written(2, {"q1": 1}, {"p1": 1}, {"q2": 1}), "heisenberg(1)+R", 4),
    "degree 2, one pair": (lambda: quadratics(1), "sl(2,R)", 3),
    "degree 2, two pairs": (lambda: quadratics(2), "sp(4,R)", 10),
    "degree <= 2, one pair": (
        lambda: joined(quadratics(1), positions(1), momenta(1)),
        "sl(2,R) semidirect heisenberg",
        6,
    ),
    "spinors": (lambda: written(2, *SU2), "su(2)", 3),
    "spinors and another": (lambda: written(3, *SU2, {"q3 q3": 1, "p3 p3": 1}), "su(2)+u(1)", 4),
    "rotations and lengths": (
        lambda: joined(angular_momentum(3), written(3, *LENGTHS)),
        "sl(2,R)+so(3)",
        6,
    ),
    "traceless linear maps": (lambda: written(2, *SL2), "sl(2,R)", 3),
    "dilation": (lambda: written(1, {"p1": 1}, {"q1 p1": 1}), "aff(1)", 2),
    "quartet": (
        lambda: written(2, {"q1 p1": 1, "q2 p2": 1}, {"q1 p2": 1, "q2 p1": -1}),
        "u(1)+R",
        2,
    ),
}

# Algebras without a name here: they must not get one.
NAMELESS: dict[str, Callable[[], Quantities]] = {
    "uniform force": lambda: conserved(np.diag([0, 0, 1.0, 1.0]), np.array([-1.0, 0, 0, 0])),
    "oscillator algebra": lambda: written(1, {"q1": 1}, {"p1": 1}, {"q1 q1": 1, "p1 p1": 1}),
    "boost of the plane": lambda: written(2, {"p1": 1}, {"p2": 1}, {"q1 p2": 1, "q2 p1": 1}),
    "dilation of the plane": lambda: written(2, {"p1": 1}, {"p2": 1}, {"q1 p1": 1, "q2 p2": 1}),
    "spiral": lambda: written(
        2, {"p1": 1}, {"p2": 1}, {"q1 p2": 1, "q2 p1": -1, "q1 p1": 0.03, "q2 p2": 0.03}
    ),
    "affine maps": lambda: joined(written(2, *SL2), momenta(2)),
    "indefinite free particle": lambda: separable([0, 0], [1, -1]),
    "without P^2": lambda: written(
        2, {"p1": 1}, {"p2": 1}, {"p1 p2": 1}, {"p1 p1": 1, "p2 p2": -1}, {"q1 p2": 1, "q2 p1": -1}
    ),
    "u(2) on pairs": lambda: joined(oscillators(1, 1), positions(2), momenta(2)),
    "free, 4 dimensions": lambda: separable([0] * 4, [1] * 4),
}

every_system = pytest.mark.parametrize("system", SYSTEMS)


@functools.cache
def quantities_of(system: str) -> Quantities:
    return SYSTEMS[system][0]()


def changed_coordinates(random: np.random.Generator, quantities: Quantities, size: float) -> Quantities:
    """Quantities in new coordinates by a random symplectic map exp(size J A), |A| = 1."""
    matrices, vectors = quantities
    dim = vectors.shape[1]
    hessian = random.normal(size=(dim, dim))
    hessian = (hessian + hessian.T) / np.linalg.norm(hessian + hessian.T, 2)
    step = size * symplectic(dim // 2) @ hessian / 1024
    change = np.linalg.matrix_power(np.eye(dim) + step + step @ step / 2 + step @ step @ step / 6, 1024)
    return change.T @ matrices @ change, vectors @ change


def mixed(random: np.random.Generator, quantities: Quantities) -> Quantities:
    """Another basis of the same space, of condition number below 10."""
    count = len(quantities[0])
    mixing = np.linalg.qr(random.normal(size=(count, count)))[0] * np.exp(random.uniform(-1, 1, count))
    return np.einsum("kl,lij->kij", mixing, quantities[0]), mixing @ quantities[1]


def other_units(random: np.random.Generator, quantities: Quantities, factor: float = 1e6) -> Quantities:
    """q_i in units s_i and p_i in units c / s_i, up to `factor` apart."""
    matrices, vectors = quantities
    own = factor ** random.uniform(-1, 1, vectors.shape[1] // 2)
    units = np.concatenate([own, factor ** random.uniform(-1, 1) / own])
    return matrices * units[:, None] * units, vectors * units


def noisy(random: np.random.Generator, quantities: Quantities, size: float) -> Quantities:
    """Independent errors on all entries, relative to the largest of each quantity."""
    matrices, vectors = quantities
    largest = np.maximum(np.abs(matrices).max(axis=(1, 2)), np.abs(vectors).max(axis=1))
    errors = random.normal(size=matrices.shape)
    errors = (errors + errors.mT) / ROOT
    return (
        matrices + size * largest[:, None, None] * errors,
        vectors + size * largest[:, None] * random.normal(size=vectors.shape),
    )


class TestBracket:
    @given(st.integers(0, 2**32 - 1), st.integers(1, 3))
    @settings(max_examples=20, deadline=None)
    def test_is_the_poisson_bracket(self, seed, dof):
        random = np.random.default_rng(seed)
        matrices = random.normal(size=(2, 2 * dof, 2 * dof))
        f, g = (
            Quadratics(*parts)
            for parts in zip(
                matrices + matrices.mT,
                random.normal(size=(2, 2 * dof)),
                random.normal(size=2),
                strict=True,
            )
        )
        found = bracket(f, g)
        state = random.normal(size=2 * dof)
        gradients = [quantity.matrices @ state + quantity.vectors for quantity in (f, g)]
        value = state @ found.matrices @ state / 2 + found.vectors @ state + found.constants
        np.testing.assert_allclose(value, gradients[0] @ symplectic(dof) @ gradients[1], atol=1e-9)
        np.testing.assert_array_equal(found.matrices, found.matrices.T)

    def test_broadcasts_over_leading_axes(self):
        matrices, vectors = quantities_of("uniform field")
        space = Quadratics(matrices, vectors, np.zeros(len(vectors)))
        rows, columns = (Quadratics(*(np.expand_dims(part, axis) for part in space)) for axis in (1, 0))
        every = bracket(rows, columns)
        one = bracket(Quadratics(*(part[1] for part in space)), Quadratics(*(part[4] for part in space)))
        for table, entry in zip(every, one, strict=True):
            np.testing.assert_allclose(table[1, 4], entry, atol=1e-14)


class TestNames:
    @every_system
    def test_of_exact_quantities(self, system):
        _, name, dimension = SYSTEMS[system]
        found = lie_algebra(*quantities_of(system))
        assert (found.name, found.dimension) == (name, dimension)
        assert found.named
        assert found.closure_error < 1e-12

    @every_system
    def test_do_not_depend_on_coordinates_and_basis(self, system):
        for seed in range(2):
            random = np.random.default_rng(seed)
            quantities = mixed(random, changed_coordinates(random, quantities_of(system), 1.0))
            found = lie_algebra(*quantities)
            assert (found.name, found.dimension) == SYSTEMS[system][1:]

    @every_system
    def test_do_not_depend_on_units(self, system):
        for seed in range(2):
            random = np.random.default_rng(seed)
            found = lie_algebra(*other_units(random, mixed(random, quantities_of(system))))
            assert (found.name, found.dimension) == SYSTEMS[system][1:]

    @every_system
    @pytest.mark.parametrize("size", [1e-4, 1e-3])
    def test_survive_noise(self, system, size):
        random = np.random.default_rng(3)
        found = lie_algebra(*noisy(random, changed_coordinates(random, quantities_of(system), 0.3), size))
        assert (found.name, found.dimension) == SYSTEMS[system][1:]

    @every_system
    def test_are_withheld_rather_than_wrong_when_noise_is_large(self, system):
        for seed, size in enumerate((0.01, 0.03, 0.1)):
            found = lie_algebra(*noisy(np.random.default_rng(seed), quantities_of(system), size))
            assert SYSTEMS[system][1] in (found.name, *found.aliases) or not found.named

    @pytest.mark.parametrize("system", NAMELESS)
    def test_are_not_invented(self, system):
        random = np.random.default_rng(0)
        for quantities in (NAMELESS[system](), changed_coordinates(random, NAMELESS[system](), 1.0)):
            found = lie_algebra(*quantities)
            assert found.name.startswith("not named: ")
            assert f"derived series {found.derived_series}" in found.name
            assert not found.named and found.closure_error < 1e-10

    @pytest.mark.parametrize("dof", range(2, 7))
    def test_of_unitary_algebras(self, dof):
        matrices, vectors = oscillators(*[1.0] * dof)
        found = lie_algebra(matrices, vectors)
        assert (found.name, found.dimension, found.centre) == (f"u({dof})", dof**2, 1)
        assert found.simple_ideals == (f"su({dof})",)
        assert found.killing_signature == (0, dof**2 - 1, 1)

    @given(
        st.integers(0, 2**32 - 1),
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=2),
        st.integers(0, 2),
        st.integers(0, 2),
    )
    @settings(max_examples=20, deadline=None)
    def test_of_normal_forms(self, seed, centres, saddles, free):
        """Sums of oscillators of both signs, of equal saddles and of free motion, in random coordinates."""
        frequencies = [1.0, 1.7]
        stiffness, inverse_mass, parts, rotations, others = [], [], [], 0, 0
        for frequency, (positive, negative) in zip(frequencies, centres, strict=False):
            signs = [1.0] * positive + [-1.0] * negative
            stiffness += [sign * frequency for sign in signs]
            inverse_mass += [sign * frequency for sign in signs]
            rotations += len(signs) == 1
            if len(signs) > 1:
                both = sorted((positive, negative), reverse=True)
                parts.append((len(signs), f"u({both[0]},{both[1]})" if both[1] else f"u({both[0]})"))
        stiffness += [-1.3] * saddles + [0.0] * free
        inverse_mass += [1.3] * saddles + [1.0] * free
        others += (saddles == 1) + 2 * (free == 1)
        if saddles == 2:
            parts.append((2, "gl(2,R)"))
        names = ["free(2)"] * (free == 2) + [name for _, name in sorted(parts, key=lambda x: (-x[0], x[1]))]
        names += ["u(1)" + f"^{rotations}" * (rotations > 1)] * (rotations > 0)
        names += ["R" + f"^{others}" * (others > 1)] * (others > 0)
        if not stiffness:
            return
        quantities = separable(stiffness, inverse_mass)
        found = lie_algebra(*changed_coordinates(np.random.default_rng(seed), quantities, 0.7))
        assert found.name == "+".join(names)

    def test_have_aliases(self):
        aliases = {system: lie_algebra(*quantities_of(system)).aliases for system in SYSTEMS}
        assert aliases["central force, plane"] == ("u(1)",)
        assert aliases["isotropic 2"] == ("su(2)+u(1)",)
        assert aliases["one pair"] == ("h(1)",)
        assert "so(2)^2" in aliases["frequencies 1, sqrt 2"]
        assert "free(2)+so(2)" in aliases["3-body, plane"]


class TestStructure:
    def test_of_two_equal_oscillators_is_the_contract(self):
        found = json.loads(json.dumps(lie_algebra(*quantities_of("isotropic 2")).to_json()))
        assert found.pop("closure_error") < 1e-12
        assert found == {
            "name": "u(2)",
            "aliases": ["su(2)+u(1)"],
            "dimension": 4,
            "central_extension": False,
            "centre": 1,
            "derived_series": [4, 3, 3],
            "killing_signature": [0, 3, 1],
        }

    def test_of_u11_and_gl2_is_the_same_and_only_their_centres_act_differently(self):
        first, second = (
            lie_algebra(*quantities_of(system)).to_json() for system in ("signs + -", "2 equal unstable")
        )
        for key in ("dimension", "centre", "derived_series", "killing_signature"):
            assert first[key] == second[key]
        assert first["killing_signature"] == [2, 1, 1]
        assert (first["name"], second["name"]) == ("u(1,1)", "gl(2,R)")

    def test_of_planar_bodies(self):
        found = lie_algebra(*quantities_of("3-body, plane"))
        assert found.derived_series == (7, 4, 0, 0)
        assert found.lower_central_series == (7, 4, 4)
        assert (found.centre, found.radical_dimension, found.semisimple_dimension) == (2, 7, 0)

    def test_of_bodies_in_space_has_two_rotation_algebras(self):
        found = lie_algebra(*quantities_of("3-body, space"))
        assert (found.radical_dimension, found.semisimple_dimension) == (9, 6)
        assert found.simple_ideals == ("so(3)", "so(3)")

    @pytest.mark.parametrize("system", ["uniform field", "3-body, plane", "signs + + -", "se(3)"])
    def test_constants_reproduce_the_brackets_of_the_basis(self, system):
        random = np.random.default_rng(1)
        found = lie_algebra(*other_units(random, quantities_of(system), 10.0))
        rows, columns = (Quadratics(*(np.expand_dims(part, axis) for part in found.basis)) for axis in (1, 0))
        for produced, part in zip(bracket(rows, columns), found.basis, strict=True):
            expected = np.tensordot(found.structure_constants, part, axes=1)
            np.testing.assert_allclose(produced, expected, atol=1e-9 * max(1.0, np.abs(expected).max()))

    def test_counts_a_constant_that_brackets_produce(self):
        found = lie_algebra(*quantities_of("uniform field"))
        assert (found.central_extension, found.dimension, found.centre) == (True, 7, 2)
        assert not found.basis.matrices[-1].any() and not found.basis.vectors[-1].any()
        assert found.basis.constants[-1] == 1.0

    @pytest.mark.parametrize("system", ["isotropic 3", "signs + + -", "central force, plane"])
    def test_absorbs_the_constants_of_a_shifted_origin(self, system):
        found = lie_algebra(*shifted(quantities_of(system), 3.0))
        assert found.name == SYSTEMS[system][1]
        assert not found.central_extension

    def test_ignores_quantities_that_depend_on_others(self):
        quantities = quantities_of("isotropic 2")
        found = lie_algebra(*joined(quantities, mixed(np.random.default_rng(0), quantities)))
        assert (found.name, found.dimension) == ("u(2)", 4)

    def test_of_a_space_that_does_not_close_says_so(self):
        found = lie_algebra(*written(2, {"q1 q1": 1, "p1 p1": 1}, {"q1 q2": 1}))
        assert found.name.startswith("does not close")
        assert not found.named and found.closure_error > 0.5
        assert found.centre is None and found.to_json()["derived_series"] is None

    def test_of_no_quantities_is_trivial(self):
        found = lie_algebra(np.zeros((0, 4, 4)), np.zeros((0, 4)))
        assert isinstance(found, LieAlgebra)
        assert (found.name, found.dimension, found.killing_signature) == ("trivial", 0, (0, 0, 0))


@pytest.mark.parametrize(
    ("matrices", "vectors", "message"),
    [
        (np.eye(3)[None], np.zeros((1, 3)), "shape"),
        (np.eye(2)[None], np.zeros((1, 4)), "shape|Type-check"),
        (np.full((1, 2, 2), np.nan), np.zeros((1, 2)), "finite"),
        (np.stack([np.eye(2), np.zeros((2, 2))]), np.zeros((2, 2)), "quantity 1 is zero"),
    ],
)
def test_bad_quantities_are_refused(matrices, vectors, message):
    # With run-time type checks on, shapes that contradict each other are a TypeError.
    with pytest.raises((ValueError, TypeError), match=message):
        lie_algebra(matrices, vectors)
