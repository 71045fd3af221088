"""Averaging a network over the flows of conserved quantities."""

from .averaging import Averaging, FlowAveraging, HaarAveraging, NoAveraging, symmetrised
from .exponential import expm
from .haar import HaarRotation, HaarUnitary
from .measures import MEASURES, Ball, Box, Gaussian, GroupMeasure, register_measure
from .orbits import AffineOrbit, FlowOrbit, Orbit, TrivialOrbit, flow_orbit
from .sized import sized

__all__ = [
    "MEASURES",
    "AffineOrbit",
    "Averaging",
    "Ball",
    "Box",
    "FlowAveraging",
    "FlowOrbit",
    "Gaussian",
    "GroupMeasure",
    "HaarAveraging",
    "HaarRotation",
    "HaarUnitary",
    "NoAveraging",
    "Orbit",
    "TrivialOrbit",
    "expm",
    "flow_orbit",
    "register_measure",
    "sized",
    "symmetrised",
]
