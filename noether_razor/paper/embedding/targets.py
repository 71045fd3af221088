"""The experiments on embeddings with their columns and claims."""

from ..seeded_target import SeededTarget
from . import figure1, manifolds, pca

EMBEDDING_TARGETS = (
    SeededTarget(
        "embedding-figure1",
        "A line and a circle by the authors' penalty and by the tube",
        figure1.run_figure1,
        figure1.COLUMNS,
        figure1.CLAIMS,
        (
            "The penalised functional has no maximum that covers the data once: its optimal length is "
            "2 / sqrt(2 λ) whatever the data are, here λ = 0.01. Curves wind or run to and fro to reach it.",
            "The objective is without the constant log 2 of the prior. The tube maximises -KL(tube || p).",
        ),
        draw=figure1.draw_figure1,
    ),
    SeededTarget(
        "embedding-pca",
        "Principal components: exactly stationary, stable by an exact spectrum",
        pca.run_pca,
        pca.COLUMNS,
        pca.CLAIMS,
        (
            "Angles in radians between the best linear map and the principal axes; residuals of the "
            "Euler-Lagrange equation at 20 points; largest difference of the eigenvalues of the second "
            "variation between formula and autodiff, in a density of variances 4, 1.5, 0.7, 0.3.",
        ),
        draw=pca.draw_pca,
    ),
    SeededTarget(
        "embedding-manifolds",
        "Noisy sheets in space, in two dimensions",
        manifolds.run_sheets,
        manifolds.SHEET_COLUMNS,
        manifolds.SHEET_CLAIMS,
        (
            "1000 training and 400 test points a seed. Every method is tuned on a fifth of the training "
            "points: VME by likelihood, those with a map back by its error, the others by trustworthiness. "
            f"{manifolds.NEIGHBOURS} neighbours; seconds of CPU with tuning.",
        ),
        datasets=True,
    ),
    SeededTarget(
        "embedding-digits",
        "Digits (8 x 8 pixels, 20 principal components) in two dimensions",
        manifolds.run_digits,
        manifolds.DIGIT_COLUMNS,
        manifolds.DIGIT_CLAIMS,
        (
            "1200 training and 597 test digits a seed, tuned as for the sheets. Labels are used by the "
            "classifier alone.",
        ),
        aims=manifolds.aims,
        datasets=True,
    ),
)
