"""How the ELBO is estimated: what one evaluation costs and how much it varies."""

from dataclasses import dataclass

from ..integrators import Step, euler_step, rk4_step


@dataclass(frozen=True)
class Estimator:
    """A Monte Carlo estimate of the ELBO; every one is unbiased for its own number of group samples.

    step, substeps: the integrator and its steps per transition.
    group_samples: group elements in the average that makes H.
    weight_samples: draws of the network's weights per evaluation, each with group elements of its own.
    share_batch: every weight sample sees the whole batch (the paper's estimator); otherwise the batch is
        dealt out among them, so that weight samples cost nothing and their noise averages out across
        transitions.
    independent: independent group elements, without the measure's variance reduction.
    sequential: weight samples one after the other, their gradients accumulated: memory of one sample.
    chunk: group elements evaluated at a time, None for all: memory of so many, at the price of computing
        activations again.
    """

    step: Step = rk4_step
    substeps: int = 1
    group_samples: int = 16
    weight_samples: int = 7
    share_batch: bool = False
    independent: bool = False
    sequential: bool = False
    chunk: int | None = None

    def __post_init__(self) -> None:
        for name in ("substeps", "group_samples", "weight_samples", "chunk"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


def paper_estimator(*, substeps: int = 20, group_samples: int = 200, weight_samples: int = 20) -> Estimator:
    """The estimator of the paper: Euler sub-steps, independent group and weight samples, the batch shared by
    all.
    """
    return Estimator(
        step=euler_step,
        substeps=substeps,
        group_samples=group_samples,
        weight_samples=weight_samples,
        share_batch=True,
        independent=True,
        sequential=True,
    )
