"""Averaging a network over the flows of conserved quantities."""

from ._averaging import Averaging as Averaging
from ._averaging import FlowAveraging as FlowAveraging
from ._averaging import HaarAveraging as HaarAveraging
from ._averaging import NoAveraging as NoAveraging
from ._averaging import symmetrised as symmetrised
from ._expm import expm as expm
from ._haar import HaarRotation as HaarRotation
from ._haar import HaarUnitary as HaarUnitary
from ._measures import Ball as Ball
from ._measures import Box as Box
from ._measures import Gaussian as Gaussian
from ._measures import GroupMeasure as GroupMeasure
from ._orbits import AffineOrbit as AffineOrbit
from ._orbits import FlowOrbit as FlowOrbit
from ._orbits import Orbit as Orbit
from ._orbits import TrivialOrbit as TrivialOrbit
from ._orbits import flow_orbit as flow_orbit
from ._sized import sized as sized
