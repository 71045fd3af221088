"""The functional of an embedding: stationarity, currents, stability and gauge, to the accuracy of float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noether_razor.embedding import (
    Latent,
    LatentMap,
    current,
    current_divergence,
    currents,
    density_symmetries,
    euler_lagrange_residual,
    functional,
    gaussian_log_density,
    integrand,
    linear_optimum,
    pca_map,
    principal_angles,
    second_variation,
    stability_spectrum,
    twisted,
)
from noether_razor.lie import affine_lie_algebra
from noether_razor.null_space import null_space

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.fixture(scope="module")
def gaussian():
    """A normal density in four dimensions, its mean, axes (rows) and variances."""
    root = np.random.default_rng(0).normal(size=(4, 4))
    covariance = root @ root.T + 0.1 * np.eye(4)
    variances, axes = np.linalg.eigh(covariance)
    mean = np.array([1.0, -2.0, 0.5, 0.0])
    return gaussian_log_density(mean, covariance), mean, axes[:, ::-1].T, variances[::-1]


def points(latent: Latent, count: int = 12) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).uniform(-0.9, 0.9, (count, latent.dim)))


def at(function, z: jax.Array):
    """A function of one point at several, compiled as a whole."""
    return jax.jit(jax.vmap(function))(z)


class TestLatent:
    @pytest.mark.parametrize("kind", ["uniform", "normal", "circle"])
    def test_functions_are_orthonormal_with_their_derivatives(self, kind):
        latent = Latent(kind, 2, 3)
        nodes, weights = latent.quadrature(10)
        values = latent.values(nodes)
        assert np.allclose(values.T @ (weights[:, None] * values), np.eye(latent.size), atol=1e-13)
        z = points(latent, 1)[0]
        assert np.allclose(jax.jacfwd(latent.values)(z).T, latent.gradients(z), atol=1e-13)
        hessians = at(jax.hessian(latent.values), jnp.asarray(nodes))
        assert np.allclose(np.einsum("mpii->mp", hessians), latent.laplacians(nodes), atol=1e-10)
        bending = np.einsum("m,mpij,mqij->pq", weights, hessians, hessians)
        assert np.allclose(bending, latent.bending, rtol=1e-11, atol=1e-9)

    @pytest.mark.parametrize("kind", ["uniform", "normal", "circle"])
    def test_the_density_integrates_to_one(self, kind):
        latent = Latent(kind, 1, 1)
        reach = {"uniform": 1.0, "normal": 9.0, "circle": np.pi}[kind]
        edges = np.linspace(-reach, reach, 4001)[:, None]
        assert np.trapezoid(np.exp(latent.log_density(edges)), edges[:, 0]) == pytest.approx(1, abs=1e-12)

    def test_harmonics_are_orthonormal_with_their_derivatives(self):
        latent = Latent("sphere", 2, 3)
        nodes, weights = latent.quadrature(6)
        values = latent.values(nodes)
        assert latent.size == 16
        assert np.allclose(values.T @ (weights[:, None] * values), np.eye(16), atol=1e-13)
        z = points(latent)
        assert np.allclose(
            np.swapaxes(at(jax.jacfwd(latent.values), z), 1, 2), latent.gradients(z), atol=1e-12
        )
        # l = 1 are the coordinates of space, and no derivative is lost at a pole.
        space = np.stack([np.cos(z[:, 1]) * np.cos(z[:, 0]), np.sin(z[:, 1])], axis=1)
        assert np.allclose(latent.values(z)[:, [2, 1]], np.sqrt(3) * space, atol=1e-13)
        assert np.isfinite(latent.gradients(np.array([[0.3, np.pi / 2]]))).all()
        # Bending is the mean square of the covariant Hessian in the metric cos^2 b da^2 + db^2.
        nodes = jnp.asarray(nodes)
        second, first = at(jax.hessian(latent.values), nodes), at(jax.jacfwd(latent.values), nodes)
        sine, cosine = (np.asarray(f(nodes[:, 1]))[:, None] for f in (jnp.sin, jnp.cos))
        along = (second[..., 0, 0] - sine * cosine * first[..., 1]) / cosine**2
        mixed = (second[..., 0, 1] + sine / cosine * first[..., 0]) / cosine
        entries = (along, second[..., 1, 1], mixed, mixed)
        bending = sum(part.T @ (weights[:, None] * part) for part in entries)
        assert np.allclose(bending, latent.bending, atol=1e-8)
        assert np.allclose(along + second[..., 1, 1], latent.laplacians(nodes), atol=1e-9)

    def test_what_cannot_be_is_refused(self):
        with pytest.raises(ValueError, match="expected one of uniform, normal, circle, sphere"):
            Latent("torus", 2, 3)
        with pytest.raises(ValueError, match="a sphere has 2 components, got 3"):
            Latent("sphere", 3, 3)
        with pytest.raises(ValueError, match="at least 1, got 0 and 3"):
            Latent("uniform", 0, 3)
        with pytest.raises(ValueError, match="take a lower degree or fewer components"):
            Latent("uniform", 6, 12)


class TestPrincipalComponents:
    def test_they_solve_the_euler_lagrange_equation(self, gaussian):
        log_density, mean, axes, variances = gaussian
        latent = Latent("normal", 2, 1)
        phi = pca_map(mean, axes[:2], variances[:2])
        other = pca_map(mean, axes[1:3], variances[1:3])
        turned = pca_map(mean, (axes[:2] + axes[1:3]) / np.sqrt(2), variances[:2])
        # Any principal axes are stationary; what lies between them is not.
        for f, stationary in ((phi, True), (other, True), (turned, False)):
            residual = at(
                lambda z, f=f: euler_lagrange_residual(f, log_density, latent.log_density, z), points(latent)
            )
            assert bool(np.abs(residual).max() < 1e-13) is stationary

    def test_a_twist_solves_it_too_though_it_is_not_linear(self, gaussian):
        log_density, mean, axes, variances = gaussian
        latent = Latent("normal", 2, 1)
        phi = pca_map(mean, axes[:2], variances[:2])
        bent = twisted(phi, 0.3)
        z = points(latent)
        residual = at(lambda y: euler_lagrange_residual(bent, log_density, latent.log_density, y), z)
        assert np.abs(residual).max() < 1e-12
        curved = at(jax.hessian(bent), z)
        assert np.abs(curved).max() > 0.1
        nodes, weights = (jnp.asarray(part) for part in latent.quadrature(24))
        straight, turned = (
            float(jax.jit(lambda f=f: functional(f, log_density, latent.log_density, nodes, weights))())
            for f in (phi, bent)
        )
        assert turned == pytest.approx(straight, abs=1e-12)

    def test_the_best_linear_map_spans_them(self, gaussian):
        log_density, mean, axes, variances = gaussian
        start = np.random.default_rng(2).normal(size=(3, 4))
        found = linear_optimum(log_density, start)
        assert principal_angles(found[1:].T, axes[:2].T).max() < 1e-6
        assert np.allclose(found[0], mean, atol=1e-7)
        assert np.allclose(np.linalg.svd(found[1:], compute_uv=False) ** 2, variances[:2], rtol=1e-6)

    @pytest.mark.parametrize(("dim", "degree", "stiffness"), [(1, 8, 0.0), (1, 8, 0.3), (2, 4, 0.2)])
    def test_the_stability_spectrum_is_exact(self, dim, degree, stiffness):
        variances = np.array([2.0, 0.7, 0.3])
        spectrum = stability_spectrum(variances, dim, degree, stiffness)
        measured = np.linalg.eigvalsh(second_variation(variances, dim, degree, stiffness))
        assert np.abs(np.sort(spectrum.eigenvalues.ravel()) - measured).max() < 1e-8

    def test_without_stiffness_degrees_make_it_unstable(self):
        variances = np.array([3.5, 1.0])
        # A maximum among polynomials of degree n only where lambda_1 > n lambda_2.
        assert stability_spectrum(variances, 1, 3).stable
        assert not stability_spectrum(variances, 1, 4).stable
        assert stability_spectrum(variances, 1, 30, stiffness=1 / (2 * 3.5)).stable
        with pytest.raises(ValueError, match="positive and fall"):
            stability_spectrum(np.array([1.0, 2.0]), 1, 3)
        with pytest.raises(ValueError, match="between 1 and 1, got 2"):
            stability_spectrum(np.array([2.0, 1.0]), 2, 3)


class TestCurrents:
    def circle(self, radius: float) -> LatentMap:
        latent = Latent("circle", 1, 2)
        coefficients = np.zeros((latent.size, 2))
        coefficients[1, 0] = coefficients[2, 1] = radius / np.sqrt(2)
        return LatentMap(latent, coefficients)

    def test_the_circle_of_a_ring_is_stationary_with_a_constant_rotation_current(self):
        width = 0.1
        radius = (1 + np.sqrt(1 + 4 * width**2)) / 2
        phi = self.circle(radius)
        prior = phi.latent.log_density

        def ring(x):
            return -((jnp.sqrt(x @ x) - 1) ** 2) / (2 * width**2)

        z = jnp.linspace(-3, 3, 20)[:, None]
        residual = at(lambda y: euler_lagrange_residual(phi, ring, prior, y), z)
        assert np.abs(residual).max() < 1e-11
        found = at(lambda y: tuple(currents(phi, ring, prior, y)), z)
        reparametrisation, translation, rotation = found[0], found[1][:, 0, 0], found[2][:, 0, 0, 1]
        assert np.allclose(rotation, 1 / (2 * np.pi), atol=1e-13) and np.ptp(rotation) < 1e-13
        assert np.ptp(reparametrisation) < 1e-12
        # A ring has no translation symmetry.
        assert np.ptp(translation) > 0.1

    def test_an_ellipse_is_not_and_its_current_varies(self):
        phi = self.circle(1.0)
        prior = phi.latent.log_density
        z = jnp.linspace(-3, 3, 20)[:, None]
        ellipse = gaussian_log_density(np.zeros(2), np.diag([2.0, 1.0]))
        assert np.abs(at(lambda y: euler_lagrange_residual(phi, ellipse, prior, y), z)).max() > 0.1

    def test_the_divergence_is_the_residual_along_the_symmetry(self):
        """q <residual + grad log p, xi>, at any map: Noether's theorem before it is used."""
        latent = Latent("normal", 2, 3)
        draws = np.random.default_rng(3)
        phi = LatentMap(latent, draws.normal(size=(latent.size, 4)))
        log_density = gaussian_log_density(np.zeros(4), np.diag([1.0, 1.0, 2.0, 3.0]))
        turn = draws.normal(size=(4, 4))
        turn = turn - turn.T
        prior = latent.log_density

        def both(z):
            residual = euler_lagrange_residual(phi, log_density, prior, z)
            force = residual + jax.grad(log_density)(phi(z))
            expected = jnp.exp(prior(z)) * (force @ (turn @ phi(z)))
            return expected, current_divergence(phi, prior, lambda x: jnp.asarray(turn) @ x, z)

        expected, found = at(both, points(latent, 3))
        assert np.allclose(found, expected, rtol=1e-10)

    def test_the_rotations_of_all_currents_are_those_of_fields(self):
        latent = Latent("uniform", 2, 2)
        phi = LatentMap(latent, np.random.default_rng(4).normal(size=(latent.size, 3)))
        log_density = gaussian_log_density(np.zeros(3), np.eye(3))
        z = points(latent, 1)[0]
        found = jax.jit(lambda y: currents(phi, log_density, latent.log_density, y))(z)
        # From axis 0 to axis 2: e_0 -> e_2, e_2 -> -e_0.
        turn = np.zeros((3, 3))
        turn[2, 0], turn[0, 2] = 1.0, -1.0
        alone = jax.jit(lambda y: current(phi, latent.log_density, lambda x: jnp.asarray(turn) @ x, y))(z)
        assert np.allclose(found.rotation[:, 0, 2], alone, atol=1e-14)
        assert np.allclose(found.rotation, -np.swapaxes(found.rotation, 1, 2))
        value = integrand(phi, log_density, latent.log_density, z)
        assert found.reparametrisation == pytest.approx(float(value))


class TestSymmetries:
    def test_a_gaussian_in_space_has_the_rotations_of_its_ellipsoid(self):
        draws = np.random.default_rng(5)
        root = draws.normal(size=(3, 3))
        mean = np.array([5.0, 0.0, -2.0])
        log_density = gaussian_log_density(mean, root @ root.T)
        samples = mean + draws.normal(size=(60, 3)) @ root.T
        found = density_symmetries(log_density, samples)
        assert found.dimension == 3 and found.algebra.name.startswith("so(3)")
        assert found.gap > 1e6
        scores = jax.vmap(jax.grad(log_density))(jnp.asarray(samples))
        moved = np.einsum("kij,nj->nki", found.matrices, samples) + found.vectors
        assert np.abs(np.einsum("ni,nki->nk", scores, moved)).max() < 1e-10
        # No rotation of space keeps an ellipsoid of three axes.
        assert density_symmetries(log_density, samples, isometries=True).dimension == 0
        assert found.to_json()["algebra"]["dimension"] == 3

    @pytest.mark.parametrize(
        ("log_density", "dimension", "name"),
        [
            (lambda x: -jnp.sum((x**2).sum() ** 2), 3, "so(3)"),
            (lambda x: -((jnp.sqrt(x[0] ** 2 + x[1] ** 2) - 1) ** 2), 2, "u(1)+R"),
            (lambda x: -(x[0] ** 2) - 3 * x[1] ** 4 - 2 * x[2] ** 6, 0, "trivial"),
        ],
        ids=["ball", "cylinder", "none"],
    )
    def test_isometries_of_shapes(self, log_density, dimension, name):
        samples = np.random.default_rng(6).normal(size=(40, 3))
        found = density_symmetries(log_density, samples, isometries=True)
        assert found.dimension == dimension, found.singular_values
        assert found.algebra.name.startswith(name), found.algebra.name

    def test_the_motions_of_the_plane_are_named(self):
        turn = np.array([[0.0, -1.0], [1.0, 0.0]])
        zero = np.zeros((2, 2))
        found = affine_lie_algebra(np.stack([turn, zero, zero]), np.array([[0, 0], [1, 0], [0, 1.0]]))
        assert "2" in found.name and found.dimension == 3 and found.derived_series == (3, 2, 0, 0)

    def test_bad_points_are_refused(self):
        samples = np.random.default_rng(7).normal(size=(20, 3))
        with pytest.raises(ValueError, match="got 5 points, expected at least 12"):
            density_symmetries(lambda x: -x @ x, samples[:5])
        with pytest.raises(ValueError, match="not finite at point 2"):
            samples[2] = 0
            density_symmetries(lambda x: jnp.sqrt(x @ x), samples)

    def test_the_null_space_of_conditions(self):
        rows = np.array([[1.0, 0.0, 0.0], [0.0, 1e-3, 0.0]])
        found = null_space(rows, 1e-6)
        assert np.allclose(np.abs(found.basis), [[0, 0, 1]]) and np.allclose(found.values, [1, 1e-3, 0])
        assert found.gap == np.inf
        assert len(null_space(rows, 1e-2).basis) == 2
        assert len(null_space(np.zeros((4, 3)), 1e-9).basis) == 3


class TestWhatPointsCannotSay:
    def test_directions_without_points_take_no_part(self):
        """A ring in a plane of space turns in that plane; what moves points off it is not told."""
        draws = np.random.default_rng(0)
        angles = draws.uniform(-np.pi, np.pi, 300)
        ring = np.stack([np.cos(angles), np.sin(angles), np.full(300, 5.0)], axis=1)

        def log_density(x):
            return -((jnp.sqrt(x[0] ** 2 + x[1] ** 2) - 1) ** 2) / 0.02 - (x[2] - 5) ** 2

        moved = ring + 0.1 * draws.normal(size=ring.shape) * [1, 1, 0]
        found = density_symmetries(log_density, moved, isometries=True)
        assert found.algebra.name == "so(2)" and found.dimension == 1 and found.open_directions == 0
        # Turned as a whole, it is found in its own plane.
        turn = np.linalg.qr(draws.normal(size=(3, 3)))[0]
        found = density_symmetries(lambda x: log_density(turn.T @ x), moved @ turn.T, isometries=True)
        plane = turn.T @ found.matrices[0] @ turn
        assert found.algebra.name == "so(2)"
        assert abs(plane[0, 1]) == pytest.approx(np.sqrt(0.5) * np.linalg.norm(plane), abs=1e-6)

    def test_the_origin_of_columns_does_not_matter(self):
        """An ellipse in space far from the origin has no symmetry, and a circle has its own centre."""
        draws = np.random.default_rng(2)
        angles = draws.uniform(-np.pi, np.pi, 300)

        def log_density(centre, wide):
            def at(x):
                y = (x - centre) / jnp.array([wide, 1.0])
                return -((jnp.sqrt(jnp.sum(y**2)) - 1) ** 2) / 0.02

            return at

        for centre in (np.zeros(2), np.array([5e5, -3e3])):
            for wide, rank in ((1.0, 1), (1.5, 0)):
                ring = np.stack([wide * np.cos(angles), np.sin(angles)], axis=1)
                points = centre + ring * (1 + 0.1 * draws.normal(size=(300, 1)))
                found = density_symmetries(log_density(centre, wide), points, isometries=True, tolerance=0.05)
                assert found.dimension == rank

    def test_turns_about_a_line_say_only_that_its_noise_is_alike(self):
        """Around a straight image every turn is a symmetry of isotropic noise: only the shift is told."""
        draws = np.random.default_rng(3)
        line = np.stack([draws.uniform(-1, 1, 300), np.zeros(300), np.zeros(300)], axis=1)
        points = line + 0.1 * draws.normal(size=line.shape)

        def log_density(x):
            return -(x[1] ** 2 + x[2] ** 2) / 0.02

        with_turns = density_symmetries(log_density, points, isometries=True, tolerance=1e-6)
        assert with_turns.dimension == 2
        found = density_symmetries(log_density, points, isometries=True, tolerance=1e-6, image=line)
        assert found.dimension == 1 and np.allclose(
            np.abs(found.vectors[0] / np.linalg.norm(found.vectors)), [1, 0, 0]
        )

    def test_what_does_not_close_is_left_out(self):
        """Of a turn and directions that are flat to a loose tolerance, those that form a group are named."""
        draws = np.random.default_rng(1)
        points = draws.normal(size=(400, 3))

        def log_density(x):
            return -(x[0] ** 2 + 1.05 * x[1] ** 2 + 0.92 * x[2] ** 2) / 2

        # Of the three turns two are within the tolerance, and their commutator is the third.
        found = density_symmetries(log_density, points, isometries=True, tolerance=0.06)
        assert found.algebra.name == "so(2)" and found.open_directions == 1
        assert density_symmetries(log_density, points, isometries=True, tolerance=0.1).algebra.name == "so(3)"
