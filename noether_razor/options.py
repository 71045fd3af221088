"""The options of a fit: frozen, with the defaults of a small problem, one class per part.

The command line reads the same classes from the tables of a config, and checks their bounds.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from .training.optimiser import STRICT, PositiveFloat, Rates

PositiveInt = Annotated[int, Gt(0)]


class OptionError(ValueError):
    """Options that contradict each other or the data; the message begins with the option's name."""


@dataclass(frozen=True)
class NetworkOptions:
    """The network F.

    layers: weight matrices, including the readout. width: units per layer. elu_alpha: alpha of the ELU
    activations. kind: a name in `modelling.NETWORKS`: dense, of all coordinates together, or pairs, of each
    body and of each pair of equal bodies.
    """

    layers: Annotated[int, Ge(2)] = 3
    width: PositiveInt = 200
    elu_alpha: PositiveFloat = 1.0
    kind: str = "dense"

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class SymmetryOptions:
    """The symmetry that the network is averaged over.

    mode: no symmetry, the known one, or a learned one. quantities: K, how many to learn; None: (n + 1)^2, at
    most all of degree <= 2; d (2d + 1) of the family bodies in d dimensions; 2n - 1 of other families. fixed:
    what mode fixed builds in: all known quantities of degree at most two, or for bodies the momenta and
    angular momenta alone, which generate SE(d). measure: a name in `symmetry.MEASURES`, or haar for fixed
    equal oscillators. initial_scale: standard deviation of the entries of learned quantities at the start; of
    families that are not of degree two, the r.m.s. size of their gradients, in spreads of the data.
    initialise: learned quantities start at random, or from what the data alone show to be conserved, the rest
    at random.

    family: what learned quantities are: quadratic, bodies (those of them that no exchange of equal bodies
    changes), polynomial, library, terms, network, or a registered dictionary. degree: of the polynomials of a
    family; None: 4 up to two degrees of freedom, else 3. terms: formulas that the library has besides, or
    that the family terms has alone. width: units of a network's two hidden layers. flow_length: the longest
    orbit of quantities that are not quadratic, in spreads of the data. flow_steps: integrator steps along it.
    fixed_size: quantities that are not of degree two keep the size that they start with, and stay
    independent: they are as many laws as are learned, and none can vanish.
    """

    mode: Literal["none", "fixed", "learned"] = "learned"
    quantities: PositiveInt | None = None
    fixed: Literal["all", "euclidean"] = "all"
    measure: str = "ball"
    initial_scale: PositiveFloat = 0.1
    initialise: Literal["random", "data"] = "random"
    family: str = "quadratic"
    degree: PositiveInt | None = None
    terms: tuple[str, ...] = ()
    width: PositiveInt = 32
    flow_length: PositiveFloat = 1.5
    flow_steps: PositiveInt = 8
    fixed_size: bool = False

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class InferenceOptions:
    """The posterior and the estimator of the ELBO.

    likelihood: a name in `inference.LIKELIHOODS`: transitions, whose inputs are treated as exact, or windows:
    multiple shooting with latent initial states; auto: windows if the noise on states exceeds 0.3 of a step.
    window_steps: steps per segment of multiple shooting. estimator: ours or the paper's. group_samples: group
    samples per average; None: 16, or the paper's 200. weight_samples: weight samples per step; None: 4, or
    the paper's 20. chunk: group samples evaluated at a time, to limit memory; None: all. substeps: integrator
    steps per transition. noise_variance: sigma^2: a number in the units of the data, data (that of simulated
    data), or learned. correlated: full row and column covariances of the weights instead of diagonal ones.
    """

    likelihood: str = "auto"
    window_steps: PositiveInt = 8
    estimator: Literal["efficient", "paper"] = "efficient"
    group_samples: PositiveInt | None = None
    weight_samples: PositiveInt | None = None
    chunk: PositiveInt | None = None
    substeps: PositiveInt | Literal["auto"] = "auto"
    noise_variance: PositiveFloat | Literal["data", "learned"] = "data"
    correlated: bool = False

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class TrainingOptions:
    """The training loop.

    batch: transitions per step; None: all, at most 100. rates: peak learning rates. second_moment: Adam's
    beta2. kl_warmup: steps over which the KL term is faded in. orbit_growth: group warm-up, the steps over
    which the group samples of fixed quantities grow to full size. log_every: steps between logged metrics.
    """

    steps: PositiveInt = 3000
    batch: PositiveInt | None = None
    rates: Rates = field(default_factory=Rates)
    second_moment: Annotated[float, Gt(0), Lt(1)] = 0.95
    kl_warmup: Annotated[int, Ge(0)] = 0
    orbit_growth: Annotated[int, Ge(0)] = 0
    log_every: PositiveInt = 100

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class EstimateOptions:
    """The size of the final estimates.

    weight_samples, group_samples: of predictions. nll_stderr: standard error to which NLL / N is estimated,
    in nats per transition.
    """

    weight_samples: Annotated[int, Ge(2)] = 16
    group_samples: PositiveInt = 64
    nll_stderr: PositiveFloat = 0.02

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Options:
    """All options of a fit.

    scale: auto trains on measured data in scaled canonical coordinates. spread: standard deviation of scaled
    coordinates, about the shortest length scale of H. held_out: share of the trajectories held out for
    testing. bodies: of so many equal bodies positions are, one after the other; None: of none that are known
    to be equal.
    """

    network: NetworkOptions = NetworkOptions()
    symmetry: SymmetryOptions = SymmetryOptions()
    inference: InferenceOptions = field(default_factory=lambda: InferenceOptions(noise_variance="learned"))
    training: TrainingOptions = TrainingOptions()
    estimates: EstimateOptions = EstimateOptions()
    scale: Literal["auto", "none"] = "auto"
    spread: PositiveFloat = 1.0
    held_out: Annotated[float, Ge(0), Lt(1)] = 0.0
    bodies: Annotated[int, Ge(2)] | None = None
