"""Labelled data to train on: digits, or a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int


class LabelledDataError(ValueError):
    """Data that cannot be classified; the message names the file and what is wrong."""


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
    """1797 images of digits, 8x8 pixels from 0 to 1, which scikit-learn ships."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise LabelledDataError("digits need scikit-learn: pip install noether-razor[datasets]") from None
    inputs, labels = load_digits(return_X_y=True)
    return _split(np.asarray(inputs, np.float32) / 16, np.asarray(labels), test_share, seed, "digits")


def read_labelled(path: Path, label: str | None = None, test_share: float = 0.2, seed: int = 0) -> Labelled:
    """Inputs and labels of a file: .npz with arrays `x` and `y`, or .csv with a header, whose column `label`
    (default: the last) holds the class: text or numbers, each value a class. Inputs are scaled to unit
    variance. Raises `LabelledDataError`.
    """
    if not path.is_file():
        raise LabelledDataError(f"{path}: no such file")
    try:
        inputs, labels = _npz(path) if path.suffix == ".npz" else _csv(path, label)
    except (OSError, ValueError, KeyError) as error:
        raise LabelledDataError(f"{path}: cannot be read as labelled data ({error})") from None
    if inputs.ndim != 2 or len(inputs) != len(labels) or len(inputs) < 10:
        raise LabelledDataError(f"{path}: expected 10 rows of inputs or more and a label for each")
    if not np.isfinite(inputs).all():
        raise LabelledDataError(f"{path}: inputs must be finite")
    spread = inputs.std(axis=0)
    inputs = (inputs - inputs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return _split(inputs.astype(np.float32), labels, test_share, seed, str(path))


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        inputs = np.asarray(file["x"], float)
        return inputs.reshape(len(inputs), -1), np.asarray(file["y"])


def _csv(path: Path, label: str | None) -> tuple[np.ndarray, np.ndarray]:
    with path.open(encoding="utf-8") as file:
        names = [name.strip() for name in file.readline().split(",")]
    at = len(names) - 1
    if label is not None:
        if label not in names:
            raise ValueError(f"no column {label}, only {', '.join(names)}")
        at = names.index(label)
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    rows = [[cell.strip() for cell in line.split(",")] for line in lines if line.strip()]
    if any(len(row) != len(names) for row in rows):
        raise ValueError(f"expected {len(names)} cells in every row")
    table = np.array(rows).reshape(-1, len(names))
    return np.delete(table, at, axis=1).astype(float), table[:, at]


def _split(inputs: np.ndarray, labels: np.ndarray, test_share: float, seed: int, name: str) -> Labelled:
    known, numbers = np.unique(labels, return_inverse=True)
    if len(known) < 2 or len(known) > len(labels) // 2:
        raise LabelledDataError(f"{name}: expected a few classes, got {len(known)} in {len(labels)} rows")
    order = np.random.default_rng(seed).permutation(len(inputs))
    test, train = np.split(order, [max(1, int(test_share * len(order)))])
    numbers = numbers.astype(np.int32)
    return Labelled(inputs[train], numbers[train], inputs[test], numbers[test], len(known))
