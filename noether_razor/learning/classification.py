"""Labelled data to train on: digits, or a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ..trajectories import DataFileError, read_arrays, read_labelled_points

LEAST = 10
"""Rows of a file."""


@dataclass(frozen=True)
class Labelled:
    """Inputs and the numbers of their classes, to train on and to test with."""

    inputs: Float[np.ndarray, "train features"]
    labels: Int[np.ndarray, " train"]
    test_inputs: Float[np.ndarray, "test features"]
    test_labels: Int[np.ndarray, " test"]
    classes: int

    @property
    def features(self) -> int:
        return self.inputs.shape[1]

    def batches(self, steps: int, size: int, seed: int) -> Int[np.ndarray, "steps size"]:
        """Numbers of training rows for each step, in random order, all of them before any comes again."""
        rng, size = np.random.default_rng(seed), min(size, len(self.inputs))
        per_epoch = len(self.inputs) // size
        epochs = -(-steps // per_epoch)
        rows = [
            rng.permutation(len(self.inputs))[: per_epoch * size].reshape(-1, size) for _ in range(epochs)
        ]
        return np.concatenate(rows)[:steps]

    def with_noise(self, share: float, seed: int) -> "Labelled":
        """The same with that share of the training labels drawn anew."""
        rng = np.random.default_rng(seed)
        labels = self.labels.copy()
        chosen = rng.random(len(labels)) < share
        labels[chosen] = rng.integers(0, self.classes, int(chosen.sum()))
        return Labelled(self.inputs, labels, self.test_inputs, self.test_labels, self.classes)


def digits(test_share: float = 0.2, seed: int = 0) -> Labelled:
    """1797 images of digits, 8x8 pixels from 0 to 1, which scikit-learn ships. Raises ImportError."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("digits need scikit-learn: pip install 'noether-razor[datasets]'") from None
    inputs, labels = load_digits(return_X_y=True)
    return _split(np.asarray(inputs, np.float32) / 16, np.asarray(labels), test_share, seed, "digits")


def read_labelled(path: Path, label: str | None = None, test_share: float = 0.2, seed: int = 0) -> Labelled:
    """Inputs and labels of a file: .npz with arrays `x` (rows, ...) and `y` (rows), or text, whose column
    `label` (default: the last) holds the class and all others numbers.

    Labels are text or numbers, each value a class. Inputs are scaled to unit variance. Raises
    `DataFileError`.
    """
    if path.suffix.lower() == ".npz":
        inputs, labels = _read_arrays(path)
    else:
        table, classes = read_labelled_points(path, label)
        inputs, labels = table.values, np.array(classes)
    if len(inputs) < LEAST:
        raise DataFileError(path, "", f"has {len(inputs)} rows, expected {LEAST} or more")
    spread = inputs.std(axis=0)
    if not spread.any():
        raise DataFileError(path, "", "all inputs are constant")
    inputs = (inputs - inputs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return _split(inputs.astype(np.float32), labels, test_share, seed, path)


def _read_arrays(path: Path) -> tuple[Float[np.ndarray, "rows features"], np.ndarray]:
    arrays = read_arrays(path)
    if not {"x", "y"} <= set(arrays):
        raise DataFileError(path, "", f"needs arrays x and y, has {', '.join(arrays) or 'none'}")
    x, y = arrays["x"], arrays["y"]
    if x.ndim < 2 or y.shape != (len(x),):
        raise DataFileError(path, "", f"expected x (rows, ...) and y (rows), got {x.shape} and {y.shape}")
    if x.dtype.kind not in "biuf" or not np.isfinite(x).all():
        raise DataFileError(path, "x", "must hold finite real numbers")
    if y.dtype.kind not in "biufSU" or (y.dtype.kind == "f" and not np.isfinite(y).all()):
        raise DataFileError(path, "y", "must hold finite numbers or text")
    return x.reshape(len(x), -1).astype(float), y


def _split(
    inputs: np.ndarray, labels: np.ndarray, test_share: float, seed: int, name: Path | str
) -> Labelled:
    known, numbers = np.unique(labels, return_inverse=True)
    if len(known) < 2:
        raise DataFileError(name, "", f"expected two classes or more, all labels are {known[0]}")
    if len(known) > len(labels) // 2:
        raise DataFileError(
            name, "", f"{len(known)} different labels in {len(labels)} rows: are these classes?"
        )
    order = np.random.default_rng(seed).permutation(len(inputs))
    test, train = np.split(order, [max(1, int(test_share * len(order)))])
    if len(train) < LEAST // 2:
        raise DataFileError(name, "", f"leaves {len(train)} rows to train on, take a smaller test_share")
    numbers = numbers.astype(np.int32)
    return Labelled(inputs[train], numbers[train], inputs[test], numbers[test], len(known))
