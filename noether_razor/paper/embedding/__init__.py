"""The experiments on variational manifold embedding."""

from .targets import EMBEDDING_TARGETS

__all__ = ["EMBEDDING_TARGETS"]
