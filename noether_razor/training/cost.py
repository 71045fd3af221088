"""What a training step costs, on paper: operations and memory, as formulas of the model and its estimator."""

from typing import NamedTuple

import jax
import numpy as np
from flax import nnx

from ..devices import DATA, SAMPLES, division, largest_share
from ..inference import Objective, Posterior, Rows, batch_axes
from ..integrators import Step, euler_step, midpoint_step, rk4_step
from ..networks import CountsWork, Work
from ..quantities import BodyQuantities, QuadraticQuantities
from .fitting import group_samples_of, initial_state, mesh_of_fit
from .loop import rows_a_step
from .optimiser import Training
from .whitening import EVERY

STAGES: dict[Step, int] = {euler_step: 1, midpoint_step: 2, rk4_step: 4}
"""Evaluations of the field in a step of each method."""
PRODUCTS = 6
"""Products with each weight matrix for an image of a state: the network, its gradient, and the reverse of
both.
"""
KEPT, KEPT_IN_LOOP, LOOP = 4.3, 5.0, 1.6
"""Numbers that the reverse pass keeps for a hidden unit, an image and a stage of the integrator: without
sub-steps; for each of several; and once for all of them.
"""
WEIGHTS, WEIGHTS_IN_LOOP, LEAST_WEIGHTS = 7.5, 14.2, 13.0
"""Numbers for each drawn weight, beside what is kept; with sub-steps; and where little else is."""
EXPONENTIAL = 14
"""Products of matrices in an exponential: 7 of its polynomial and 7 squarings."""
EIGENVALUES = 9
"""Operations of an eigendecomposition over the cube of its size."""


class StepCost(NamedTuple):
    """Of one step, for the device that has most to do.

    parameters: numbers that are learned. images: states at which the network is evaluated at once, rows times
    group samples. operations: of its matrix products. state, rows, working: bytes of the parameters with
    what the optimiser keeps, before and after the step; of the data; of the step itself. share: of all work.
    quantities: operations of the flows of quantities of degree two, and of whitened steps of these.
    """

    parameters: int
    images: int
    operations: float
    state: int
    rows: int
    working: int
    share: float
    quantities: float = 0.0

    @property
    def memory(self) -> int:
        """All bytes."""
        return self.state + self.rows + self.working


def step_cost(posterior: Posterior, data: Rows, objective: Objective, training: Training) -> StepCost:
    """The cost of a step of `fit`.

    With R rows a step, G group samples, S weight samples, E stages of the integrator, s sub-steps, |W|
    weights and U hidden units there are 12 R G E s |W| operations in matrix products, and 4 (4.3 R G E U +
    7.5 S |W|) bytes of working memory, with sub-steps 4 ((5.0 s + 1.6) R G E U + 14.2 S |W|), and at least
    4 * 13 S |W|. R, G or S are divided by the devices that share them. The constants are those of programs
    compiled for a CPU (docs/larger.md). A network that uses its weights several times for a state has as many
    more of |W| operations and of U (`CountsWork`). Flows of quantities of degree two: see `_of_quantities`.
    Where group samples are evaluated in chunks, a chunk takes the place of G in the memory.
    """
    estimator = objective.estimator
    batch, samples = rows_a_step(data, training.batch, estimator), group_samples_of(posterior, estimator)
    mesh = mesh_of_fit(posterior, data, objective, training)
    along = {DATA: 1, SAMPLES: 1} if mesh is None else dict(mesh.shape)
    axes = batch_axes(batch, estimator)
    lengths = list(axes.values())
    chosen = division(lengths, along[DATA])
    share = largest_share(lengths[chosen], along[DATA]) * largest_share(samples, along[SAMPLES])
    draws = 1 if estimator.sequential else estimator.weight_samples
    if list(axes)[chosen] == 0 and not estimator.share_batch:
        draws = round(draws * largest_share(draws, along[DATA]))
    weights = sum(mean.size for mean in posterior.means().values())
    work = _work_of(posterior)
    stages = STAGES.get(estimator.step, max(STAGES.values()))
    images = round(batch * samples * share)
    at_once = images if estimator.chunk is None else round(images * min(1, estimator.chunk / samples))
    seen = estimator.weight_samples if estimator.share_batch else 1
    times = stages * estimator.substeps * seen
    flows = _of_quantities(posterior, draws * samples, images * times, training.learn_quantities)
    state = jax.eval_shape(lambda: initial_state(posterior, training))
    # What goes into a step and what comes out of it.
    held = 2 * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    numbers = sum(np.size(leaf) for leaf in jax.tree.leaves(data))
    return StepCost(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        images=images,
        operations=2.0 * PRODUCTS * images * times * work.products,
        quantities=flows.operations,
        state=held,
        rows=4 * numbers // (1 if mesh is None else mesh.size),
        working=working_memory(estimator.substeps, at_once * stages * work.units, draws * weights)
        + flows.memory,
        share=share,
    )


def _work_of(posterior: Posterior) -> Work:
    """Of its network, where that does not say, one use of each weight and each bias."""
    if isinstance(posterior.network, CountsWork):
        return posterior.network.work()
    sizes = [(leaf.ndim, leaf.size) for leaf in jax.tree.leaves(nnx.state(posterior.network, nnx.Param))]
    return Work(*(sum(size for ndim, size in sizes if ndim == of) for of in (2, 1)))


class _Flows(NamedTuple):
    operations: float
    memory: int


def _of_quantities(posterior: Posterior, elements: int, images: int, learned: bool) -> _Flows:
    """The flows of quantities of degree two: exponentials of `elements` and products of these with so many
    `images`, and the eigendecomposition of a whitened step where they are `learned`.

    An exponential of an m x m matrix takes `EXPONENTIAL` products, each of 2 m^3 operations, three times with
    its reverse. For D coordinates m = D + 1, and a quantity has M = D (D + 3) / 2 coefficients. For N equal
    bodies there are two with m = D / N + 1, and M = D / N (D / N + 2).
    """
    quantities = posterior.quantities
    if isinstance(quantities, BodyQuantities):
        own = 2 * quantities.dimension
        sizes, moved = (own + 1, own + 1), quantities.bodies * own**2
        coefficients = quantities.coefficients.shape[1]
    elif isinstance(quantities, QuadraticQuantities):
        dim = 2 * quantities.dof
        sizes, moved, coefficients = (dim + 1,), dim**2, dim * (dim + 3) // 2
    else:
        return _Flows(0.0, 0)
    exponentials = 3 * EXPONENTIAL * elements * sum(2.0 * m**3 for m in sizes)
    # A step of whitening comes with an eigendecomposition of its second moment now and then.
    whitening = learned * EIGENVALUES * float(coefficients) ** 3 / EVERY
    operations = exponentials + 2.0 * PRODUCTS * images * moved + whitening
    return _Flows(operations, round(4 * EXPONENTIAL * elements * sum(m**2 for m in sizes)))


def working_memory(substeps: int, units: int, weights: int) -> int:
    """Bytes of a step of so many sub-steps that keeps `units` (hidden units times images times stages) and
    draws `weights`.
    """
    each = KEPT if substeps == 1 else KEPT_IN_LOOP * substeps + LOOP
    drawn = WEIGHTS if substeps == 1 else WEIGHTS_IN_LOOP
    return round(4 * max(each * units + drawn * weights, LEAST_WEIGHTS * weights))
