"""Ask the exact evidence how often its numbers, ranks, intervals and verdicts hold, and write the table.

Each data set's answer is kept under --out, so that a run which was stopped goes on.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from evidence_suite import ANGULAR, NOISE, ROWS, STEP, SUITE, TRAJECTORIES, Item, clean_trajectories
from jaxtyping import Float
from scipy.stats import chi2, kstest

from noether_razor.exact_evidence import Polynomials, evidence
from noether_razor.exact_evidence.built_in import Comparison
from noether_razor.exact_evidence.prior import Prior
from noether_razor.exact_evidence.questions import QuadraticQuestion
from noether_razor.exact_evidence.shooting import Begin, Fit, LinearModel, Point, Problem, evaluate, fit
from noether_razor.files import write_whole
from noether_razor.quantities import parse_hypothesis
from noether_razor.systems import CustomSystem
from noether_razor.thinning import evenly
from noether_razor.trajectories import Trajectories, fit_scale, scaled_trajectories

TABLE = Path(__file__).parents[1] / "docs" / "evidence_calibration.md"
MORE = (
    Item("coupled oscillators", "(p1^2 + p2^2 + q1^2 + q2^2) / 2 + 0.3 * q1 * q2", (), (), 2),
    Item("a quartic and an oscillator", "(p1^2 + p2^2 + q2^2) / 2 + q1^4 / 4", (), (), 1),
)
RANKED = (*SUITE, *MORE)
"""Ten systems of known rank."""
CELLS = ((5, 0.01), (10, 0.03), (20, 0.1))
"""Trajectories of 51 rows, and the noise of all columns over their spread."""
TARGET_VARIANCE, TARGET_ROWS = 1e-3, 31
DECIDED = 8.0
BREAKING_POINTS = 400
WIDE = 1e4
"""A prior variance that says nothing."""

HEADING = """# Calibration of the exact evidence

`scripts/evidence_calibration` writes this page. It simulates files of one and two degrees of freedom and
compares what the evidence says with the truth. Measured on 2 cores of an AMD EPYC.

"""

Answer = dict[str, Any]


class Store(NamedTuple):
    """Answers by name, one file each."""

    folder: Path

    def of(self, name: str, compute: Callable[..., Answer], *arguments: Any) -> Answer:
        """The answer that is there, or the one that is computed now."""
        path = self.folder / f"{name.replace(' ', '_')}.json"
        if path.exists():
            return json.loads(path.read_text())
        found = compute(*arguments)
        write_whole(path, json.dumps(found) + "\n")
        return found


def oscillators(
    frequency: float, decay: float, seed: int, rows: int = ROWS, *, count: int = TRAJECTORIES, dof: int = 2
) -> Trajectories:
    """Exact trajectories of oscillators, the last of `frequency`, others of 1; -`decay` p is added to p'."""
    draws = np.random.default_rng(seed)
    times, square = STEP * np.arange(rows), np.append(np.ones(dof - 1), frequency**2)
    q, p = draws.normal(size=(2, count, 1, dof))
    w = np.sqrt(square - decay**2 / 4)
    cos, sin = np.cos(np.outer(times, w)), np.sin(np.outer(times, w)) / w
    fades = np.exp(-decay * times / 2)[:, None]
    positions = fades * (q * cos + (p + decay / 2 * q) * sin)
    momenta = fades * (p * cos - (square * q + decay / 2 * p) * sin)
    return Trajectories(np.tile(times, (count, 1)), np.concatenate([positions, momenta], axis=2))


def noisy(exact: Trajectories, seed: int, noise: float = NOISE) -> Trajectories:
    """The same with noise on all states."""
    draws = np.random.default_rng(1000 + seed)
    size = noise * exact.points().std(axis=0)
    return Trajectories(exact.times, exact.states + size * draws.normal(size=exact.states.shape))


def breaking_of(data: Trajectories, force: Callable[[np.ndarray], np.ndarray]) -> float:
    """The r.m.s. of {L, H} over that of |grad L| |grad H|, for the angular momentum L and H = p^2 / 2 + U
    with the `force` -grad U: in the scaled coordinates and at the states that the evidence takes.
    """
    scale = fit_scale(data, rounded=False)
    at = data.points()[evenly(len(data.points()), BREAKING_POINTS)]
    q, p = np.split(at, 2, axis=1)
    push = force(q)
    bracket = q[:, 0] * push[:, 1] - q[:, 1] * push[:, 0]
    of_angular = np.stack([p[:, 1], -p[:, 0], -q[:, 1], q[:, 0]], axis=1) * scale.scales
    of_energy = np.concatenate([-push, p], axis=1) * scale.scales
    unit = np.sqrt(np.mean(np.sum(of_angular**2, axis=1) * np.sum(of_energy**2, axis=1)))
    return float(scale.action * np.sqrt(np.mean(bracket**2)) / unit)


# Numbers.


def _deviance(found: Fit) -> float:
    """Twice the negative log likelihood of states and first states, up to a constant."""
    problem, point = found.problem, found.point
    squares = np.einsum("bkd,bk->d", (found.states - problem.measured) ** 2, problem.seen)
    return float(squares @ (1 / point.noise) + np.sum(point.firsts**2) / problem.first_variance)


def null_gains(seed: int) -> Answer:
    """Twice the gain in log likelihood of a friction, and of a term q p of H, which are not there."""
    data = noisy(oscillators(1.0, 0.0, seed, 21, count=5, dof=1), seed, 0.02)
    problem = Problem.of(Polynomials(2, 2), data, np.zeros(1))
    noise = (0.02 * oscillators(1.0, 0.0, seed, 21, count=5, dof=1).points().std(axis=0)) ** 2

    def deviance(free: list[int]) -> float:
        # Of q, p, q^2, q p, p^2 and the friction.
        basis = np.eye(6)[:, free]
        model = LinearModel.of(basis, Prior.of(basis, np.arange(6)))
        begin = Begin(
            basis.T @ np.array([0, 0, 0.5, 0, 0.5, 0]), data.states, np.full(len(free), WIDE), noise
        )
        return _deviance(fit(problem, model, begin, lengths=[21], fixed=True))

    true = deviance([2, 4])
    return {"friction": true - deviance([2, 4, 5]), "q p": true - deviance([2, 3, 4])}


def sampled(seed: int) -> Answer:
    """Laplace's log evidence less that of importance sampling at the same hyper-parameters, and the error."""
    data = noisy(oscillators(1.0, 0.0, seed, 11, count=3, dof=1), seed, 0.03)
    problem = Problem.of(Polynomials(2, 4), data, np.zeros(1))
    none = Comparison.of(problem, data.segments()).none
    rows, point, prior = problem.rows(11), none.point, none.model.prior.precision(none.point.variances)
    size, count = problem.size, len(data)
    blocks = evaluate(problem, rows, none.parameters, point)
    precision = np.zeros((size + 2 * count, size + 2 * count))
    precision[:size, :size] = blocks.hcc + prior
    for b in range(count):
        own = slice(size + 2 * b, size + 2 * b + 2)
        precision[own, own] = blocks.hxx[b, 0] + np.eye(2) / problem.first_variance
        precision[own, :size], precision[:size, own] = blocks.hxc[b, 0], blocks.hxc[b, 0].T
    unit = 1 / np.sqrt(np.diag(precision))
    root = unit[:, None] * np.linalg.inv(np.linalg.cholesky(precision * unit * unit[:, None]).T)

    def energy(z: np.ndarray, at: Point) -> float:
        squares = evaluate(problem, rows, z, at).squares @ (1 / at.noise)
        return float(squares + z @ prior @ z + np.sum(at.firsts**2) / problem.first_variance) / 2

    lowest, ratios = energy(point.z, point), []
    for standard in np.random.default_rng(seed).normal(size=(1000, size + 2 * count)):
        off = root @ standard
        firsts = point.firsts.copy()
        firsts[:, 0] += off[size:].reshape(count, 2)
        moved = energy(point.z + off[:size], point._replace(firsts=firsts))
        ratios.append(standard @ standard / 2 - moved + lowest)
    ratio = np.exp(ratios)
    error = float(np.std(ratio) / np.mean(ratio) / np.sqrt(len(ratio)))
    return {"off": -float(np.log(np.mean(ratio))), "error": error}


def searched(item: Item, seed: int) -> Answer:
    """The gain of a quantity when both fits are searched for from five places."""
    data = noisy(clean_trajectories(item, seed), seed)
    scale = fit_scale(data, rounded=False)
    scaled = scaled_trajectories(data, scale)
    problem = Problem.of(Polynomials(4, 4), scaled, scale.rest)
    comparison = Comparison.of(problem, scaled.segments())
    asked = parse_hypothesis(ANGULAR, data.names)
    exact = comparison.exact(QuadraticQuestion(ANGULAR, scale.quantities(asked.quadratics)))
    pairs = [
        [comparison.again(one, k, 3.0).log_evidence for one in (exact, comparison.none)] for k in range(5)
    ]
    return {"gains": [own - none for own, none in pairs]}


# Ranks, intervals and verdicts.


def rank_of(item: Item, trajectories: int, noise: float, seed: int) -> Answer:
    """The dimension of the space that one file shows, the breaking of its quantities that it cannot exclude,
    and the true one.
    """
    clean = clean_trajectories(item, seed)
    found = evidence(noisy(clean[np.arange(trajectories)], seed, noise))
    space = found.degree_two
    return {
        "rank": found.rank,
        "margin": min(found.rank_margin, 1e9),
        "withdrawn": found.withdrawn,
        "limit": space.broken,
        "broken": max(
            (_true_breaking(item, clean, *one) for one in zip(space.matrices, space.vectors, strict=True)),
            default=0.0,
        ),
    }


def _true_breaking(
    item: Item, clean: Trajectories, matrix: Float[np.ndarray, "dim dim"], vector: Float[np.ndarray, " dim"]
) -> float:
    """R.m.s. {C, H} of x^T A x / 2 + b^T x over that of |grad C| |grad H| along trajectories."""
    points = clean.points()
    slopes = np.asarray(jax.vmap(jax.grad(CustomSystem(2, item.hamiltonian).hamiltonian))(points))
    own = points @ matrix + vector
    brackets = np.sum(own[:, :2] * slopes[:, 2:] - own[:, 2:] * slopes[:, :2], axis=1)
    sizes = np.linalg.norm(own, axis=1) * np.linalg.norm(slopes, axis=1)
    return float(np.sqrt(np.mean(brackets**2) / np.mean(sizes**2)))


def verdict_of(data: Trajectories, degree: int | None = None) -> Answer:
    """What is said of the angular momentum, and the friction."""
    found = evidence(data, [ANGULAR], degree=degree)
    rate, own = found.friction, found[0]
    return {
        "verdict": own.verdict,
        "why": own.why,
        "gain": max(own.gain, -1e9),
        "breaking": own.breaking._asdict(),
        "friction": [rate.gamma, rate.sd],
    }


def detuned(seed: int) -> Answer:
    """Frequencies 1 and 1.005."""
    data = noisy(oscillators(1.005, 0.0, seed), seed)
    return verdict_of(data) | {"truth": breaking_of(data, lambda q: -q * np.array([1, 1.005**2]))}


def quadrupole(seed: int) -> Answer:
    """A central quartic with 0.01 (q1^2 - q2^2)."""
    item = next(one for one in SUITE if one.name == "with a quadrupole of 1 %")
    data = noisy(clean_trajectories(item, seed), seed)

    def force(q: np.ndarray) -> np.ndarray:
        return -q * np.sum(q**2, axis=1, keepdims=True) - 0.02 * q * np.array([1, -1])

    return verdict_of(data) | {"truth": breaking_of(data, force)}


def rubbed(seed: int) -> Answer:
    """Equal oscillators with a friction of 0.005."""
    return verdict_of(noisy(oscillators(1.0, 0.005, seed), seed)) | {"truth": 0.005}


def transitions(frequency: float, seed: int) -> Answer:
    """The paper's protocol: exact inputs, noisy targets."""
    exact = oscillators(frequency, 0.0, seed, TARGET_ROWS)
    draws = np.random.default_rng(1000 + seed)
    noise = np.sqrt(TARGET_VARIANCE) * draws.normal(size=exact.states[:, 1:].shape)
    return verdict_of(Trajectories(exact.times, exact.states, exact.states[:, 1:] + noise), 2)


# Lines of the table.


def numbers(store: Store, files: int) -> list[str]:
    """Null parameters and Laplace's approximation."""
    gains = [store.of(f"null-{seed}", null_gains, seed) for seed in range(files)]
    lines = []
    for name in gains[0] if gains else ():
        own = [one[name] for one in gains]
        p = kstest(own, chi2(1).cdf).pvalue
        lines.append(
            f"| twice the gain in log likelihood of a {name} that is not there | {files} | mean "
            f"{np.mean(own):.2f} (chi-squared with one degree: 1), Kolmogorov-Smirnov p = {p:.2f} |"
        )
    some = [store.of(f"laplace-{seed}", sampled, seed) for seed in range(min(files, 20))]
    if some:
        off, error = (np.abs([one[key] for one in some]) for key in ("off", "error"))
        lines.append(
            "| Laplace's log evidence less that of importance sampling, 3 trajectories of 11 rows | "
            f"{len(some)} | r.m.s. {np.sqrt(np.mean(off**2)):.3f}, at most {off.max():.3f} nats (errors of "
            f"sampling up to {error.max():.3f}) |"
        )
    return lines


def scatter(store: Store, files: int) -> list[str]:
    """Searches from other places, and other data."""
    lines = []
    for name in ("two equal oscillators", "central quartic"):
        item = next(one for one in SUITE if one.name == name)
        runs = [store.of(f"search-{name}-{k}", searched, item, k) for k in range(min(files, 5))]
        if runs:
            own = np.array([one["gains"] for one in runs])
            means = own.mean(axis=1)
            lines.append(
                f"| gain of L, {name}: searched for from 5 places each | {len(runs)} | standard deviation "
                f"over places {own.std(axis=1).max():.2g} nats at most, over data sets "
                f"{means.std(ddof=1):.1f} nats |"
            )
    return lines


def ranks(store: Store, files: int) -> list[str]:
    """The dimension of the space, a line for each number of trajectories and noise."""
    lines = []
    for trajectories, noise in CELLS:
        count: Counter[str] = Counter()
        wrong = []
        for seed in range(files):
            for item in RANKED:
                name = f"rank-{trajectories}-{noise}-{item.name}-{seed}"
                found = store.of(name, rank_of, item, trajectories, noise, seed)
                said = "undecided"
                if found["margin"] >= DECIDED and not found["withdrawn"]:
                    said = "right" if found["rank"] == item.rank else "wrong"
                    if found["rank"] > item.rank and found["broken"] <= found["limit"]:
                        said = "within its limit"
                count[said] += 1
                if said == "wrong":
                    wrong.append(f"{item.name}: {found['rank']} with {found['margin']:.0f} nats")
        which = f" ({'; '.join(wrong)})" if wrong else ""
        lines.append(
            f"| dimension of the space, {len(RANKED)} systems; {trajectories} trajectories, {noise:.0%} "
            f"noise | {files * len(RANKED)} | right {count['right']}, right within the limit that it states "
            f"{count['within its limit']}, undecided {count['undecided']}, "
            f"wrong {count['wrong']}{which} |"
        )
        print(lines[-1], flush=True)
    return lines


def intervals(store: Store, files: int) -> list[str]:
    """Detuning, quadrupole, friction."""
    asked = {
        "detuning of 0.5 %": detuned,
        "quadrupole of 1 %": quadrupole,
        "friction of 0.005": rubbed,
    }
    lines = []
    for name, compute in asked.items():
        found = [store.of(f"{name}-{seed}", compute, seed) for seed in range(files)]
        if not found:
            continue
        if compute is rubbed:
            inside = sum(abs(one["friction"][0] - one["truth"]) < 1.96 * one["friction"][1] for one in found)
        else:
            inside = sum(one["breaking"]["lo"] <= one["truth"] <= one["breaking"]["hi"] for one in found)
        what = "rate" if compute is rubbed else "{L, H}"
        lines.append(
            f"| {name} | {files} | {verdicts(found)}; true {what} inside its 95 % interval in {inside} |"
        )
        print(lines[-1], flush=True)
    return lines


def targets(store: Store, files: int) -> list[str]:
    """The paper's protocol."""
    lines = []
    for frequency, name in ((1.02, "detuning of 2 %"), (1.0, "no detuning")):
        found = [
            store.of(f"targets-{frequency}-{seed}", transitions, frequency, seed) for seed in range(files)
        ]
        if not found:
            continue
        seen = [100 * one["breaking"]["hi"] for one in found]
        lines.append(
            f"| exact inputs, noise of variance {TARGET_VARIANCE} on targets, {name} | {files} | "
            f"{verdicts(found)}; {{L, H}} below {min(seen):.2g} to {max(seen):.2g} % |"
        )
        print(lines[-1], flush=True)
    return lines


def verdicts(found: list[Answer]) -> str:
    """How often each verdict was given."""
    counted = Counter(one["verdict"] for one in found)
    return ", ".join(f"{name} in {count}" for name, count in counted.most_common())


def main() -> None:
    """Read the arguments, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/calibration"), help="folder for the answers")
    parser.add_argument("--numbers", type=int, default=200, help="data sets for null parameters")
    parser.add_argument("--files", type=int, default=100, help="data sets of each interval")
    parser.add_argument("--target-files", type=int, default=50, help="data sets of the paper's protocol")
    parser.add_argument("--rank-files", type=int, default=8, help="data sets of each system and cell")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Markdown file to write")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    store = Store(arguments.out)
    lines = ["| data | data sets | found for the angular momentum L, or for the space |", "|---|---|---|"]
    lines += numbers(store, arguments.numbers) + scatter(store, arguments.numbers)
    print("\n".join(lines), flush=True)
    lines += targets(store, arguments.target_files) + intervals(store, arguments.files)
    lines += ranks(store, arguments.rank_files)
    write_whole(arguments.table, HEADING + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
