"""Other embeddings to compare with, each tuned on held-out rows as ours is, and what is measured of each."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ...embedding import VariationalManifoldEmbedding, principal_components

NEIGHBOURS = 10
"""Of trustworthiness and continuity, and of the classifier."""


class Embedded(NamedTuple):
    """Coordinates of training and test points, and the test points that they stand for (None where a method
    has no explicit map back).
    """

    train: Float[np.ndarray, "n d"]
    test: Float[np.ndarray, "m d"]
    back: Float[np.ndarray, "m D"] | None


Method = Callable[[np.ndarray, np.ndarray], Embedded]
"""From training and test points to what they become."""


class Family(NamedTuple):
    """A method with the settings that are tried, and by what they are judged on held-out rows."""

    settings: tuple[dict[str, Any], ...]
    method: Callable[..., Method]
    judged: str = "trustworthiness"


def trustworthiness(points: Float[np.ndarray, "n D"], coordinates: Float[np.ndarray, "n d"]) -> float:
    """Whether neighbours in the map are neighbours in the data (Venna and Kaski 2001); with the arguments
    exchanged it is continuity.
    """
    from sklearn import manifold

    return float(manifold.trustworthiness(points, coordinates, n_neighbors=NEIGHBOURS))


def explained(points: Float[np.ndarray, "n D"], back: Float[np.ndarray, "n D"]) -> float:
    """R^2 of all columns together."""
    return float(1 - np.sum((points - back) ** 2) / np.sum((points - points.mean(axis=0)) ** 2))


def tuned(
    family: Family, train: Float[np.ndarray, "n D"], test: Float[np.ndarray, "m D"], seed: int
) -> tuple[Embedded, dict[str, Any]]:
    """The method with the setting that does best on a fifth of the training points that is held out, fitted
    to all of them, and that setting.
    """
    best = family.settings[0]
    if len(family.settings) > 1:
        order = np.random.default_rng(seed).permutation(len(train))
        held = order[: len(train) // 5]
        kept = order[len(train) // 5 :]
        scores = []
        for setting in family.settings:
            found = family.method(**setting)(train[kept], train[held])
            if family.judged == "r2":
                assert found.back is not None
                scores.append(explained(train[held], found.back))
            else:
                scores.append(trustworthiness(train[held], found.test))
        best = family.settings[int(np.argmax(scores))]
    return family.method(**best)(train, test), best


def pca(dim: int) -> Method:
    """Principal components."""

    def embed(train: np.ndarray, test: np.ndarray) -> Embedded:
        found = principal_components(train)
        axes = found.axes[:dim]
        own, other = ((points - found.mean) @ axes.T for points in (train, test))
        return Embedded(own, other, found.mean + other @ axes)

    return embed


def kernel_pca(dim: int, gamma: float) -> Method:
    """Principal components in a Gaussian kernel, with a map back by ridge regression."""

    def embed(train: np.ndarray, test: np.ndarray) -> Embedded:
        from sklearn.decomposition import KernelPCA

        scale = float(train.var(axis=0).sum())
        model = KernelPCA(dim, kernel="rbf", gamma=gamma / scale, fit_inverse_transform=True, alpha=1e-3)
        own = model.fit_transform(train)
        other = model.transform(test)
        return Embedded(own, other, model.inverse_transform(other))

    return embed


def isomap(dim: int, neighbours: int) -> Method:
    """Isomap."""

    def embed(train: np.ndarray, test: np.ndarray) -> Embedded:
        from sklearn.manifold import Isomap

        model = Isomap(n_components=dim, n_neighbors=neighbours)
        with warnings.catch_warnings():
            # Of a graph in pieces: scikit-learn joins them, as we do.
            warnings.simplefilter("ignore")
            return Embedded(model.fit_transform(train), model.transform(test), None)

    return embed


def umap(dim: int, neighbours: int, distance: float, seed: int) -> Method:
    """UMAP."""

    def embed(train: np.ndarray, test: np.ndarray) -> Embedded:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from umap import UMAP

            model = UMAP(
                n_components=dim, n_neighbors=neighbours, min_dist=distance, random_state=seed, n_jobs=1
            )
            return Embedded(np.asarray(model.fit_transform(train)), np.asarray(model.transform(test)), None)

    return embed


def autoencoder(dim: int, width: int, rate: float, seed: int) -> Method:
    """A network with a bottleneck between layers of `width` tanh units, trained to repeat its input."""

    def embed(train: np.ndarray, test: np.ndarray) -> Embedded:
        from sklearn.neural_network import MLPRegressor

        mean, scale = train.mean(axis=0), float(np.sqrt(train.var(axis=0).mean()))
        own, other = ((points - mean) / scale for points in (train, test))
        model = MLPRegressor(
            hidden_layer_sizes=(width, width, dim, width, width),
            activation="tanh",
            learning_rate_init=rate,
            max_iter=1000,
            n_iter_no_change=30,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(own, own)

        def code(points: np.ndarray) -> np.ndarray:
            for weights, bias in zip(model.coefs_[:3], model.intercepts_[:3], strict=True):
                points = np.tanh(points @ weights + bias)
            return points

        back = np.asarray(model.predict(other)).reshape(other.shape)
        return Embedded(code(own), code(other), mean + scale * back)

    return embed


def families(dim: int, seed: int, *, quick: bool) -> dict[str, Family]:
    """The methods that ours is compared with."""
    every = {
        "PCA": Family(({"dim": dim},), pca),
        "kernel PCA": Family(_grid(dim=[dim], gamma=[0.3, 1.0, 3.0, 10.0, 30.0]), kernel_pca, "r2"),
        "Isomap": Family(_grid(dim=[dim], neighbours=[6, 10, 15]), isomap),
        "UMAP": Family(_grid(dim=[dim], neighbours=[8, 15, 30], distance=[0.1, 0.5], seed=[seed]), umap),
        "autoencoder": Family(
            _grid(dim=[dim], width=[64, 128], rate=[1e-3, 4e-3], seed=[seed]), autoencoder, "r2"
        ),
    }
    if quick:
        return {name: every[name]._replace(settings=every[name].settings[:1]) for name in ("PCA", "Isomap")}
    return every


def _grid(**choices: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    found: list[dict[str, Any]] = [{}]
    for name, values in choices.items():
        found = [{**one, name: value} for one in found for value in values]
    return tuple(found)


def ours(
    train: Float[np.ndarray, "n D"], test: Float[np.ndarray, "m D"], seed: int, *, dim: int, quick: bool
) -> tuple[Embedded, VariationalManifoldEmbedding]:
    """The variational embedding with all settings chosen by held-out likelihood."""
    options: dict[str, Any] = {"degree": 5, "iterations": 20} if quick else {"select": True}
    model = VariationalManifoldEmbedding(dim, seed=seed, **options).fit(train)
    coordinates = model.transform(test)
    return Embedded(model.transform(train), coordinates, model.inverse_transform(coordinates)), model
