"""Likelihoods, one file each: those imported here are always known."""

from . import segments as segments
from . import transitions as transitions
