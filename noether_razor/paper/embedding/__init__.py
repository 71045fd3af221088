"""The experiments on variational manifold embedding."""

from .reproduction import EMBEDDING_TARGETS, reproduce_embedding
from .target import EmbeddingTarget, Measured

__all__ = [
    "EMBEDDING_TARGETS",
    "EmbeddingTarget",
    "Measured",
    "reproduce_embedding",
]
