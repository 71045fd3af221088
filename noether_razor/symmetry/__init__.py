"""Averaging a network over the flows of conserved quantities."""

from .averaging import Averaging, FlowAveraging, GroupDraws, HaarAveraging, NoAveraging, symmetrised
from .built_in import BuiltIn, BuiltInAveraging, CannotBuildInError, Slice, SliceSamples, built_in
from .exponential import expm
from .group_samples import AffineSamples, GroupSamples, IdentitySample, flow_samples
from .haar import HaarRotation, HaarUnitary
from .limited import CurveSamples, FlowSamples, limited_field
from .measures import MEASURES, Ball, Box, Gaussian, GroupMeasure, register_measure
from .sized import sized

__all__ = [
    "MEASURES",
    "AffineSamples",
    "Averaging",
    "Ball",
    "Box",
    "BuiltIn",
    "BuiltInAveraging",
    "CannotBuildInError",
    "CurveSamples",
    "FlowAveraging",
    "FlowSamples",
    "Gaussian",
    "GroupDraws",
    "GroupMeasure",
    "GroupSamples",
    "HaarAveraging",
    "HaarRotation",
    "HaarUnitary",
    "IdentitySample",
    "NoAveraging",
    "Slice",
    "SliceSamples",
    "built_in",
    "expm",
    "flow_samples",
    "limited_field",
    "register_measure",
    "sized",
    "symmetrised",
]
