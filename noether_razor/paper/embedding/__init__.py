"""The experiments on variational manifold embedding."""

from .reproduction import EMBEDDING_TARGETS, reproduce_embedding
from .target import AtLeast, AtMost, EmbeddingTarget, Measured

__all__ = [
    "EMBEDDING_TARGETS",
    "AtLeast",
    "AtMost",
    "EmbeddingTarget",
    "Measured",
    "reproduce_embedding",
]
