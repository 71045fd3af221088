"""What a file conserves beyond degree two, after the quadratic answer."""

from dataclasses import replace

import numpy as np

from ..beyond import Beyond, LibraryError, LibraryOptions, conserved_library, libraries, suggested
from ..exact_evidence import Evidence
from ..invariants import Analysis
from ..trajectories import Trajectories
from .fitted import Fitted, kept_aside, named_noise

LIBRARY = "library"
"""The family that is searched after the quadratic one, unless told otherwise."""
PART, SUGGESTIONS = "beyond degree two", "what the learned Hamiltonian suggests"
"""What the parts are called where they fail."""


def check_library(data: Trajectories, options: LibraryOptions) -> None:
    """Raises `LibraryError` where what the user said of the library does not serve."""
    if options.terms or options.degree is not None:
        libraries(data, np.zeros(data.states.shape[2]), options)


def beyond_answer(
    data: Trajectories,
    analysis: Analysis,
    exact: Evidence | None,
    options: LibraryOptions,
    failed: dict[str, str],
    noise_variance: float | None = None,
) -> Beyond | None:
    """What the library of `options` conserves; with the Hamiltonian of the exact evidence, where that fits,
    to know how much can exist.

    None for another family than the quadratic one, of a single recording, and where nothing moves, or rows do
    not show how. What fails is named in `failed`.
    """
    space = analysis.space
    if not analysis.dictionary.quadratic or space.motion.recordings < 2 or not space.shows_motion:
        return None
    degree = options.degree
    if degree is None and not options.terms and analysis.decided and analysis.independent == 2 * data.dof - 1:
        # No more can exist: those of degree two are all.
        degree = 2
    readable = exact.hamiltonian if exact is not None and exact.adequate and not exact.withdrawn else None
    try:
        return conserved_library(
            data,
            terms=options.terms,
            degree=degree,
            most_terms=options.most_terms,
            noise_variance=noise_variance,
            readable=readable,
            evidence=True,
        )
    except Exception as error:  # whatever this fails of costs this part alone
        failed[PART] = str(error) if isinstance(error, LibraryError) else f"{type(error).__name__}: {error}"
        return None


def with_suggestions(
    beyond: Beyond | None,
    analysis: Analysis,
    model: Fitted,
    data: Trajectories,
    failed: dict[str, str],
) -> Beyond | None:
    """With what the learned Hamiltonian suggests where no formula of H is known. These decide no count."""
    if beyond is None or beyond.hamiltonian is not None:
        return beyond
    own = tuple(one for one in beyond.quantities if one.source != "network")
    known = [str(one.expression) for one in analysis.quantities]
    known += [one.expression for one in own]
    try:
        held_out = kept_aside(model.problem, model.posterior).trajectories
        found = suggested(
            data, model.hamiltonian(), held_out, known, LibraryOptions(), named_noise(model.problem)
        )
    except Exception as error:  # whatever this fails of costs this part alone
        failed[SUGGESTIONS] = f"{type(error).__name__}: {error}"
        return beyond
    said = f"the field of the learned Hamiltonian errs by {100 * found.error:.2g} % on held-out trajectories"
    what = "what it suggests decides no count" if found.quantities else "it suggests nothing more"
    notes = (*beyond.notes, f"{said}; {what}")
    return replace(beyond, quantities=(*own, *found.quantities), notes=notes)
