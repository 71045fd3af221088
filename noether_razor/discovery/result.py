"""What `discover` found: everything that it can say, typed, in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from ..beyond import Beyond
from ..exact_evidence import Evidence as ExactEvidence
from ..invariants import Analysis, FoundQuantity
from ..lie import LieAlgebra
from ..prediction import Noise, bands, posterior_rollouts
from ..random import stream
from ..reporting import answer_html, discovery_text, symmetry_text
from ..trajectories import Trajectories
from .agreement import Agreement
from .checks import Checks
from .examination import Along, Evidence, along
from .fitted import Fitted, noise_on_states
from .hypotheses import HypothesisAnswer
from .learned import Learned
from .prediction import Prediction

LARGEST_OUTPUT = 10_000_000
"""Numbers that a prediction may hold a sample; more would not fit the memory of a laptop."""


@dataclass(frozen=True, eq=False, repr=False)
class Discovery:
    """What trajectories conserve, what the file cannot tell, and a model that predicts.

    trajectories: those that say what is conserved. analysis: what they say. model: the trained model, None
    where none was trained or its training failed. evidence: the Delta-ELBO, None without refits. exact: the
    exact evidence, from the data alone, for the formulas that were asked about and for what was found; None
    where polynomials do not serve. agreement: whether it finds what `analysis` does. beyond: what is
    conserved beyond degree two, None where that was not searched. learned: what the model has learned of
    another family than the quadratic one, None of that. hypotheses: what is said of each of the
    formulas asked about. checks: of the model. failed: parts that failed, with the reason. notes: what the
    reader of the data has to say. summary, metrics: the numbers of the model and of its logged steps, as in
    summary.json and metrics.jsonl.
    """

    trajectories: Trajectories
    analysis: Analysis
    model: Fitted | None = None
    evidence: Evidence | None = None
    exact: ExactEvidence | None = None
    agreement: Agreement | None = None
    beyond: Beyond | None = None
    learned: Learned | None = None
    hypotheses: tuple[HypothesisAnswer, ...] = ()
    checks: Checks | None = None
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    summary: Mapping[str, Any] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()

    @property
    def quantities(self) -> tuple[FoundQuantity, ...]:
        """The conserved quantities of degree <= 2: a basis of their space."""
        return self.analysis.quantities

    @property
    def rank(self) -> int:
        """The dimension of the space of conserved quantities of degree <= 2, constants excluded."""
        return self.analysis.rank

    @property
    def drifting(self) -> tuple[FoundQuantity, ...]:
        """Quantities that change slowly; these are not counted."""
        return self.analysis.drifting

    @property
    def algebra(self) -> LieAlgebra:
        """The Lie algebra that the conserved quantities generate under the Poisson bracket."""
        return self.analysis.algebra

    @property
    def hamiltonian(self) -> bool | None:
        """Whether a Hamiltonian explains the motion: False where something speaks against it, None where the
        model cannot say. Where momenta were made of velocities, what the model leaves unexplained beyond
        noise may be that they are not canonical, unless a formula of H explains the motion.
        """
        structure = None if self.checks is None else self.checks.structure
        if structure is None:
            return None
        unsure = bool(self.trajectories.velocities) and not (structure.at_noise or self.has_formula)
        return None if unsure and structure.hamiltonian else structure.hamiltonian

    @property
    def has_formula(self) -> bool:
        """Whether a Hamiltonian that is a formula explains the motion: of the exact evidence, or of the
        library.
        """
        exact = self.exact is not None and self.exact.adequate and not self.exact.withdrawn
        return exact or (self.beyond is not None and self.beyond.hamiltonian is not None)

    def along(self) -> Along | None:
        """How the quantities move along a few trajectories."""
        return along(self.analysis, self.trajectories)

    def predict(
        self,
        states: Float[np.ndarray, "batch dim"],
        times: Sequence[float] | Float[np.ndarray, " time"] | range,
        *,
        samples: int = 100,
        observed: bool = False,
    ) -> Prediction:
        """Rollouts of the model from `states` (batch, 2n) through `times`, of which the first is that of
        these states; all in the columns and units of the data: velocities where these were given.

        The bands are over `samples` draws of the posterior, scaled as trajectories kept aside ask for. With
        `observed` they are those of measurements: observation noise is included. Raises ValueError without a
        model or for shapes that do not fit, FloatingPointError where a rollout does not stay finite.
        """
        if self.model is None:
            raise ValueError(
                "there is no model to predict with: " + self.failed.get("model", "none was fitted")
            )
        calibration = None if self.checks is None else self.checks.calibration
        return predict_states(
            self.model,
            np.asarray(states, np.float64),
            np.asarray(times, np.float64),
            samples=samples,
            observed=observed,
            spread_scale=1.0 if calibration is None else calibration.spread_scale,
        )

    def figures(self) -> dict[str, Figure]:
        """The figures of the report, by name; without a model those that need none."""
        from .saving import figures

        return figures(self)

    def to_json(self) -> dict[str, Any]:
        """The contents of symmetry.json."""
        shown = self.along()
        symmetry = self.analysis.to_json() | {
            "notes": list(self.notes),
            "failed": dict(self.failed),
            "analysis_seconds": self.seconds,
            "along": None if shown is None else shown.to_json(),
            "evidence": self._evidence_json() or None,
            "beyond": None if self.beyond is None else self.beyond.to_json(),
            "learned_family": None if self.learned is None else self.learned.to_json(),
            "hamiltonian": self.hamiltonian,
            "bracket": None,
        }
        if (made := self.trajectories.canonical) is not None:
            symmetry["bracket"] = dict(made.answer)
            for entry in symmetry["quantities"] if made.formulas() else ():
                if entry["A"] is not None:
                    entry["in_columns"] = made.in_columns(np.array(entry["A"]), np.array(entry["b"]))
        if self.hypotheses:
            symmetry["hypotheses"] = [answer.to_json() for answer in self.hypotheses]
        if self.checks is not None:
            symmetry["checks"] = self.checks.to_json()
        return symmetry

    def _evidence_json(self) -> dict[str, Any]:
        """The Delta-ELBO by its fits, and the exact evidence as "exact"."""
        found = {} if self.evidence is None else self.evidence.to_json()
        if self.exact is not None:
            compared = None if self.agreement is None else self.agreement.to_json()
            found["exact"] = self.exact.to_json() | {"agreement": compared}
        return found

    def __str__(self) -> str:
        symmetry = self.to_json()
        return (symmetry_text(symmetry) + discovery_text(symmetry)).rstrip()

    def __repr__(self) -> str:
        formulas = [f"  C{k + 1} = {q.formula.text()}" for k, q in enumerate(self.quantities[:12])]
        more = [f"  and {self.rank - 12} more"] if self.rank > 12 else []
        return "\n".join([f"Discovery: rank {self.rank}, {self.algebra.name}", *formulas, *more])

    def _repr_html_(self) -> str:
        # In a frame of its own: the page brings its own style.
        page = escape(answer_html(self.to_json()), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:40em;border:0"></iframe>'

    def save(self, path: str | Path) -> Path:
        """Write the folder that the command writes, for `Discovery.load` and the command's verbs; returns its
        path. Raises FileExistsError where the folder holds a run.
        """
        from .saving import save

        return save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> "Discovery":
        """Read the folder of a run of `discover`. Raises `RunError` where there is none, or it is damaged."""
        from .saving import load

        return load(Path(path))

    def with_notes(self, notes: Sequence[str]) -> "Discovery":
        """The same with what the reader of the data has to say."""
        return replace(self, notes=tuple(notes))


def predict_states(
    model: Fitted,
    states: Float[np.ndarray, "batch dim"],
    times: Float[np.ndarray, " time"],
    *,
    samples: int = 100,
    observed: bool = False,
    spread_scale: float = 1.0,
) -> Prediction:
    """Rollouts of a model in the columns and units of its data: see `Discovery.predict`."""
    problem = model.problem
    dim, scale = 2 * problem.data.dof, problem.scale
    if states.ndim != 2 or states.shape[1] != dim:
        raise ValueError(f"states must have shape (batch, {dim}), got {states.shape}")
    if times.ndim != 1 or not len(times):
        raise ValueError(f"times must have shape (time,) with at least one, got {times.shape}")
    if states.size * len(times) > LARGEST_OUTPUT:
        raise ValueError(
            f"{len(states)} states at {len(times)} times are too many at once, give fewer of either"
        )
    made = problem.measured.canonical
    if made is not None:
        states = made.states(states)
    noise = noise_on_states(problem, model.posterior, problem.measured) if observed else 0.0
    paths = posterior_rollouts(
        model.posterior,
        stream(problem.seed, "prediction"),
        scale.states(states),
        np.tile(scale.times(times), (len(states), 1)),
        estimator=replace(problem.predictor, weight_samples=samples),
        longest_step=float(np.quantile(problem.data.transitions().dt, 0.95)),
        noise=Noise(observed=noise / scale.scales**2),
        spread_scale=spread_scale,
    )
    in_units = scale.states_back(paths.astype(np.float64))
    names, units = problem.measured.names, problem.measured.units
    if made is not None:
        in_units, names = made.rows(in_units), made.columns
    return Prediction(times, bands(in_units), names, units)
