"""The tables and figures of the paper as data: rows, columns, budgets and claims (method: section 6)."""

from dataclasses import dataclass
from typing import Literal, get_args

from ..app.config import Config, load_config
from .claims import Claim, Comparison, FullAlgebra, NearFloor, Spectrum

Budget = Literal["quick", "standard", "paper"]
"""quick: a smoke run. standard: the shipped recipes. paper: the paper's estimator, rates and step counts."""

BUDGETS: tuple[Budget, ...] = get_args(Budget)

QUICK = (
    "data.trajectories=4",
    "network.width=32",
    "training.steps=60",
    "training.log_every=20",
    "training.batch=20",
    "evaluation.trajectories=8",
    "evaluation.transitions=5",
    "evaluation.group_samples=16",
    "evaluation.weight_samples=4",
    "evaluation.nll_stderr=10",
)
"""Overrides that turn any row into a smoke run: it shows that all parts work together and nothing else."""

QUICK_WARM_START = ("training.warm_start=[{dt = 0.1, steps = 40, batch = 20}]",)

PAPER = (
    "inference.estimator=paper",
    "inference.substeps=20",
    "training.rates.weights=1e-3",
    "training.rates.quantities=1e-2",
    "training.second_moment=0.999",
    "training.orbit_growth=0",
)
"""Overrides that every row has in common under the paper's budget: Euler steps, Adam's rates and memory."""


@dataclass(frozen=True)
class Row:
    """A run of every seed: the name that it has in the table, and its shipped configuration."""

    name: str
    config: str


@dataclass(frozen=True)
class Column:
    """A number of summary.json, by its keys."""

    metric: str
    title: str
    path: tuple[str, ...]


COLUMNS = (
    Column("train_mse", "train MSE", ("train", "mse")),
    Column("nll", "NLL / N", ("train", "nll")),
    Column("kl", "KL / N", ("train", "kl")),
    Column("negative_elbo", "-ELBO / N", ("train", "negative_elbo")),
    Column("test_mse", "test MSE", ("test", "test", "mse")),
    Column("moved_mse", "moved MSE", ("test", "moved", "mse")),
    Column("wider_mse", "wider MSE", ("test", "wider", "mse")),
)
"""The paper's columns; its third table alone has the last two."""

COMPARISONS: tuple[Claim, ...] = (
    Comparison("negative_elbo", "learned", "vanilla"),
    Comparison("negative_elbo", "learned", "fixed", relative=0.05, absolute=0.3),
    *(
        claim
        for metric in ("test_mse", "moved_mse", "wider_mse")
        for claim in (
            Comparison(metric, "learned", "vanilla"),
            Comparison(metric, "learned", "fixed", relative=0.2),
        )
    ),
)
"""The paper's finding, learned = oracle and both better than vanilla, with what counts as equal."""


@dataclass(frozen=True)
class Table:
    """A table: its rows, its claims, and the overrides that the paper's budget adds to `PAPER`."""

    name: str
    title: str
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    paper: tuple[str, ...]


@dataclass(frozen=True)
class PhasePlane:
    """A figure of the learned energies of a table's rows beside the true one, on the first seed."""

    name: str
    title: str
    table: Table


@dataclass(frozen=True)
class Spectra:
    """A figure of singular values and alignment of learned generators, a row for each n."""

    name: str
    title: str
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    paper: tuple[str, ...]


def _rows(folder: str) -> tuple[Row, ...]:
    return tuple(Row(name, f"paper/{folder}/{name}.toml") for name in ("vanilla", "learned", "fixed"))


TABLE1 = Table(
    "table1",
    "Simple harmonic oscillator: -ELBO and errors without symmetry, with a learned one and with SO(2)",
    _rows("table1"),
    COMPARISONS,
    # 5000 epochs of the whole data set.
    (
        "inference.group_samples=200",
        "inference.weight_samples=20",
        "training.steps=5000",
        "training.batch=28",
    ),
)

TABLE2 = Table(
    "table2",
    "Three harmonic oscillators: -ELBO and errors without symmetry, with a learned one and with U(3)",
    _rows("table2"),
    (
        NearFloor("nll", "learned", 0.5),
        NearFloor("nll", "fixed", 0.5),
        Comparison("negative_elbo", "fixed", "vanilla"),
        *COMPARISONS,
    ),
    # 2000 epochs of 20 batches, of as many transitions as 10 trajectories have.
    (
        "inference.group_samples=100",
        "inference.weight_samples=5",
        "training.steps=40000",
        "training.batch=500",
    ),
)

TABLE3 = Table(
    "table3",
    "Three bodies in the plane: -ELBO and errors without symmetry, with a learned one and with SE(2)",
    _rows("table3"),
    (*COMPARISONS, NearFloor("nll", "learned", 2.0), FullAlgebra("learned", cosine=0.95, rest=0.05)),
    # 1000 epochs of 10 batches, of as many transitions as 20 trajectories have, after as many at dt = 0.1.
    (
        "inference.group_samples=100",
        "inference.weight_samples=2",
        "training.steps=10000",
        "training.batch=1000",
        "training.warm_start=[{dt = 0.1, steps = 10000, batch = 1000}]",
    ),
)

FIGURE2 = PhasePlane("figure2", "Learned and true energy of the simple harmonic oscillator", TABLE1)

FIGURE3 = Spectra(
    "figure3",
    "Learned generators of n harmonic oscillators",
    # n = 3 is the learned row of table 2, and the same run.
    tuple(
        Row(str(n), "paper/table2/learned.toml" if n == 3 else f"paper/figure3/n{n}.toml")
        for n in range(1, 6)
    ),
    tuple(Spectrum(str(n), n**2) for n in range(1, 6)),
    TABLE2.paper,
)

TARGETS: dict[str, Table | PhasePlane | Spectra] = {
    target.name: target for target in (TABLE1, FIGURE2, TABLE2, FIGURE3, TABLE3)
}


def row_config(row: Row, *, seed: int, budget: Budget, paper: tuple[str, ...]) -> Config:
    """The configuration of one run of a row; `paper` are the overrides of its target under the paper's
    budget. Raises `ConfigError` where the file and a budget do not go together.
    """
    overrides: tuple[str, ...] = ()
    if budget == "paper":
        overrides = (*PAPER, *paper)
    elif budget == "quick":
        overrides = QUICK
        if load_config(row.config).training.warm_start:
            overrides += QUICK_WARM_START
    return load_config(row.config, [*overrides, f"seed={seed}"])
