"""What a fit may be asked for: frozen options with the defaults of a small problem, one class a part.

The command line reads the same classes from the tables of a configuration, and checks their bounds.
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

    layers: weight matrices, the readout among them. width: units a layer. elu_alpha: of its activations.
    """

    layers: Annotated[int, Ge(2)] = 3
    width: PositiveInt = 200
    elu_alpha: PositiveFloat = 1.0

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class SymmetryOptions:
    """What the network is averaged over.

    mode: no symmetry, the known one, or one that is learned. quantities: K, how many to learn; None: (n +
    1)^2, at most all of degree <= 2. fixed: what mode fixed builds in, all known quantities of degree at most
    two, or of bodies the momenta and angular momenta alone, which generate SE(d). measure: a name in
    `symmetry.MEASURES`, or haar for fixed equal oscillators. initial_scale: standard deviation of the entries
    of learned quantities at the start. initialise: learned quantities start at random, or with what the data
    alone show to be conserved and the rest at random.
    """

    mode: Literal["none", "fixed", "learned"] = "learned"
    quantities: PositiveInt | None = None
    fixed: Literal["all", "euclidean"] = "all"
    measure: str = "ball"
    initial_scale: PositiveFloat = 0.1
    initialise: Literal["random", "data"] = "random"

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class InferenceOptions:
    """The posterior and the estimator of the ELBO.

    likelihood: of single transitions, whose inputs are taken for exact, or of windows with latent initial
    states (multiple shooting); auto: windows where states have noise above 0.3 of a step. window_steps: steps
    of a window. estimator: ours or the paper's. group_samples: group elements an average; None: 16, or the
    paper's 200. weight_samples: weight samples a step; None: 4, or the paper's 20. chunk: group elements
    evaluated at a time, to bound memory; None: all. substeps: integrator steps a transition. noise_variance:
    sigma^2, a number in the units of the data, that of simulated data, or learned. correlated: full row and
    column covariances of the weights instead of diagonal ones.
    """

    likelihood: Literal["auto", "transitions", "windows"] = "auto"
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

    batch: transitions a step; None: all, at most 100. rates: peak learning rates. second_moment: Adam's
    beta_2. kl_warmup: steps over which the KL divergence is faded in. orbit_growth: steps over which the
    group samples of fixed quantities grow to full size. log_every: steps between reports.
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
    """Everything that a fit may be asked for.

    scale: whether measured data are trained on in scaled canonical coordinates. spread: standard deviation of
    scaled coordinates, about the shortest length in H. held_out: share of the trajectories that is not
    trained on, to test on.
    """

    network: NetworkOptions = NetworkOptions()
    symmetry: SymmetryOptions = SymmetryOptions()
    inference: InferenceOptions = field(default_factory=lambda: InferenceOptions(noise_variance="learned"))
    training: TrainingOptions = TrainingOptions()
    estimates: EstimateOptions = EstimateOptions()
    scale: Literal["auto", "none"] = "auto"
    spread: PositiveFloat = 1.0
    held_out: Annotated[float, Ge(0), Lt(1)] = 0.0
