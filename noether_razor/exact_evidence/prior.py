"""Gaussian priors with a variance for each group of coefficients, chosen by the evidence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

FLOOR = 1e-14
"""The least prior variance: a group that reaches it is not needed."""
CEILING = 1e4
"""The largest: scaled H is of size 1, and features that nearly follow from others would have any size."""
JUMPS = (1e-6, 1e-3, 0.03, 0.3, 3.0, 30.0, 1e3)
"""Factors of a variance that are tried, because fixed points stick where the evidence has two maxima."""
REVIVED = tuple(10.0**k for k in range(-10, 0))
"""Variances that are tried for a group at the floor."""
LARGE = 150
"""Coefficients above which only the floor is tried."""


@dataclass(frozen=True, eq=False)
class Prior:
    """z ~ N(0, (sum_g E_g / v_g)^-1) for `squares` E_g (groups, Z, Z), whose sum has full rank.

    `labels` say of each its group of parameters and its part. `held` are groups of parameters whose variances
    stay as they are.
    """

    squares: Float[np.ndarray, "groups Z Z"]
    labels: tuple[tuple[int, int], ...]
    held: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        basis: Float[np.ndarray, "P Z"],
        groups: Sequence[int] | np.ndarray,
        parts: Sequence[int] = (),
        held: tuple[int, ...] = (),
    ) -> "Prior":
        """That of c = `basis` z, where c has a prior variance for each of `groups` (P,). `parts` (Z,), if
        given, number sets of columns with variances of their own. The variances of the groups `held` stay as
        they are.
        """
        groups, part = np.asarray(groups), np.asarray(parts if len(parts) else np.zeros(basis.shape[1], int))
        found, labels = [], []
        for own in np.unique(part):
            columns = np.where(part == own, basis, 0.0)
            for group in np.unique(groups):
                rows = columns[groups == group]
                if np.abs(rows).max(initial=0.0) > 1e-12:
                    found.append(rows.T @ rows)
                    labels.append((int(group), int(own)))
        return cls(np.array(found).reshape(-1, basis.shape[1], basis.shape[1]), tuple(labels), held)

    def _without(self, dead: Bool[np.ndarray, " groups"]) -> "Prior":
        """That of z of the other groups."""
        assert self.owner is not None
        some = ~dead[self.owner]
        labels = tuple(label for label, gone in zip(self.labels, dead, strict=True) if not gone)
        return Prior(self.squares[~dead][:, some][:, :, some], labels, self.held)

    @cached_property
    def moving(self) -> Bool[np.ndarray, " groups"]:
        """Which variances the evidence chooses."""
        return np.array([group not in self.held for group, _ in self.labels], bool)

    @property
    def count(self) -> int:
        """Variances."""
        return len(self.squares)

    @cached_property
    def owner(self) -> Int[np.ndarray, " Z"] | None:
        """The group of each of z, where groups do not share directions and each of z is of one of them: sums
        over groups need no matrices then.
        """
        entries = np.einsum("gii->gi", self.squares)
        own = entries.argmax(axis=0) if len(entries) else np.zeros(0, int)
        masks = own == np.arange(self.count)[:, None]
        return own if np.allclose(self.squares, masks[:, :, None] * np.eye(len(own)), atol=1e-9) else None

    @cached_property
    def sizes(self) -> Float[np.ndarray, " groups"]:
        """The dimension of each group."""
        return np.trace(self.squares, axis1=1, axis2=2)

    def precision(self, variances: Float[np.ndarray, " groups"]) -> Float[np.ndarray, "Z Z"]:
        """The inverse of the prior covariance."""
        if self.owner is not None:
            return np.diag(1 / variances[self.owner])
        return np.tensordot(1 / variances, self.squares, 1)

    def log_determinant(self, variances: Float[np.ndarray, " groups"]) -> float:
        """Of the precision."""
        if self.owner is not None:
            return -float(self.sizes @ np.log(variances))
        return log_determinant(self.precision(variances))

    def shares(self, variances: Float[np.ndarray, " groups"]) -> Float[np.ndarray, " groups"]:
        """tr(precision^-1 E_g) / v_g, the dimensions that each group has to itself."""
        if self.owner is not None:
            return self.sizes
        covariance = np.linalg.inv(self.precision(variances))
        return np.sum(self.squares * covariance, axis=(1, 2)) / variances

    def evidence(
        self,
        variances: Float[np.ndarray, " groups"],
        information: Float[np.ndarray, "Z Z"],
        pull: Float[np.ndarray, " Z"],
    ) -> float:
        """The log evidence of a linear model, up to what does not depend on the variances.

        Its log likelihood is pull . z - z . information z / 2.
        """
        factor = _cholesky(information + self.precision(variances))
        half = np.linalg.solve(factor, pull)
        return float(half @ half - 2 * np.log(np.diag(factor)).sum() + self.log_determinant(variances)) / 2

    def variances(
        self,
        variances: Float[np.ndarray, " groups"],
        information: Float[np.ndarray, "Z Z"],
        pull: Float[np.ndarray, " Z"],
        *,
        rounds: int = 20,
        jump: bool = True,
    ) -> Float[np.ndarray, " groups"]:
        """Variances near a maximum of `evidence`, from given ones.

        Fixed points v_g = z . E_g z / gamma_g with the effective numbers of parameters gamma_g, and for each
        group some factors of its variance.
        """
        best = np.clip(variances, FLOOR, CEILING)
        dead = best <= FLOOR
        if self.owner is not None and dead.any() and not dead.all():
            # What is at the floor stays there, and is as good as absent.
            some = ~dead[self.owner]
            left = self._without(dead)
            part = information[np.ix_(some, some)]
            best[~dead] = left.variances(best[~dead], part, pull[some], rounds=rounds, jump=jump)
            return best
        for _ in range(rounds):
            updated = self._fixed_point(best, information, pull)
            settled = np.abs(np.log(updated / best)).max(initial=0.0) < 0.01
            best = updated
            if settled:
                break
        if not jump:
            return best
        factors = (0.0,) if information.shape[0] > LARGE else (0.0, *JUMPS)
        changes = ((group, factor, 0.0) for group in np.flatnonzero(self.moving) for factor in factors)
        return self._changed(best, information, pull, changes, 1e-3)

    def revived(
        self,
        variances: Float[np.ndarray, " groups"],
        information: Float[np.ndarray, "Z Z"],
        pull: Float[np.ndarray, " Z"],
        nats: float,
    ) -> Float[np.ndarray, " groups"]:
        """Variances with groups off the floor whose presence gains more than `nats` of evidence, one by one:
        a search may have left them there before it was near the maximum.
        """
        dead = np.flatnonzero(self.moving & (variances <= FLOOR))
        changes = ((group, 0.0, variance) for group in dead for variance in REVIVED)
        return self._changed(variances, information, pull, changes, nats)

    def pruned(
        self,
        variances: Float[np.ndarray, " groups"],
        information: Float[np.ndarray, "Z Z"],
        pull: Float[np.ndarray, " Z"],
        nats: float,
    ) -> Float[np.ndarray, " groups"]:
        """Variances at the floor for groups whose absence costs less than `nats` of evidence, one by one."""
        order = np.argsort(self.sizes * variances)
        changes = ((group, 0.0, 0.0) for group in order if self.moving[group])
        return self._changed(variances, information, pull, changes, -nats)

    def _changed(
        self,
        variances: Float[np.ndarray, " groups"],
        information: Float[np.ndarray, "Z Z"],
        pull: Float[np.ndarray, " Z"],
        changes: Iterable[tuple[int | np.integer, float, float]],
        nats: float,
    ) -> Float[np.ndarray, " groups"]:
        """Variances after those of some changes that gain more than `nats` of evidence, one by one: of a
        group, a factor of its variance and what is added.
        """
        best, value = variances.copy(), self.evidence(variances, information, pull)
        for group, factor, added in changes:
            tried = best.copy()
            tried[group] = np.clip(factor * best[group] + added, FLOOR, CEILING)
            if (other := self.evidence(tried, information, pull)) > value + nats:
                best, value = tried, max(value, other)
        return best

    def _fixed_point(
        self, variances: np.ndarray, information: np.ndarray, pull: np.ndarray
    ) -> Float[np.ndarray, " groups"]:
        covariance = np.linalg.inv(information + self.precision(variances))
        mean = covariance @ pull
        if self.owner is None:
            left, size = np.sum(self.squares * covariance, axis=(1, 2)), self.squares @ mean @ mean
        else:
            left, size = (np.bincount(self.owner, x, self.count) for x in (np.diag(covariance), mean**2))
        gamma = self.shares(variances) - left / variances
        found = np.where(gamma > 1e-8, np.clip(size / np.maximum(gamma, 1e-8), FLOOR, CEILING), FLOOR)
        return np.where(self.moving, found, variances)


def log_determinant(matrix: Float[np.ndarray, "*batch n n"]) -> float:
    """The sum of the log determinants of positive definite matrices."""
    return 2 * float(np.log(np.einsum("...ii->...i", _cholesky(matrix))).sum())


def covariance_root(covariance: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """R with R R^T = `covariance`, of which rounding may have made an eigenvalue negative: for draws."""
    values, axes = np.linalg.eigh(covariance)
    return axes * np.sqrt(np.maximum(values, 0.0))


def _cholesky(matrix: np.ndarray) -> np.ndarray:
    """The factor of a matrix of which rounding may have made an eigenvalue negative."""
    size = np.sqrt(np.maximum(np.einsum("...ii->...i", matrix), np.finfo(float).tiny))
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = matrix / size[..., :, None] / size[..., None, :]
    try:
        factor = np.linalg.cholesky(scaled)
    except np.linalg.LinAlgError:
        factor = np.linalg.cholesky(scaled + 1e-10 * np.eye(matrix.shape[-1]))
    return size[..., :, None] * factor
