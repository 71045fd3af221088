"""What each library conserves by the data alone, and which library to believe."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ..invariants import ConservedSpace, conserved_space
from ..invariants.conserved import HIDDEN
from ..invariants.on_states import independence
from ..trajectories import Trajectories
from .library import Library
from .pruning import needed_terms
from .result import Searched

FAR = 2.0
"""Mean square change over that of noise from which the next combination is surely not conserved."""
FAR_DRIVEN, HIDDEN_THEN = 5.0, 0.15
"""By how much the test of drifts must exceed its threshold to say so in its place, and what noise may then
hide of a change.
"""
SNR = 25.0
"""Variance of a quantity over that of its noise from which it is seen in single rows."""


@dataclass(frozen=True, eq=False)
class LibrarySpace:
    """The conserved space of one library, with coefficients `rows` (linear, M) of its terms in the units of
    the data; `noise_variance` is what was given of the noise, None where it is estimated.
    """

    library: Library
    space: ConservedSpace
    noise_variance: float | Float[np.ndarray, " dim"] | None = None

    @classmethod
    def of(
        cls, data: Trajectories, library: Library, noise_variance: float | Float[np.ndarray, " dim"] | None
    ) -> "LibrarySpace":
        """See `conserved_space`."""
        space = conserved_space(data, noise_variance=noise_variance, dictionary=library)
        return cls(library, space, noise_variance)

    @cached_property
    def rows(self) -> Float[np.ndarray, "linear M"]:
        return self.space.motion.quantities(self.space.conserved)

    @cached_property
    def independent(self) -> int:
        """The rank of the gradients where the data are."""
        if not len(self.rows):
            return 0
        return independence(self.space.motion, list(self.rows), np.zeros((0, len(self.library))))[0]

    @property
    def next_ratio(self) -> float:
        """Mean square change over that of noise of the first that is not conserved; inf for none."""
        ratios, staying = self.space.ratios, self.space.staying
        return float(ratios[staying]) if staying < len(ratios) else np.inf

    def doubts(self, hidden: Sequence[float]) -> tuple[str, ...]:
        """What keeps the data from deciding how many there are; `hidden` (quantities,) are upper limits of
        the change of the independent ones over their spread.
        """
        space, found = self.space, []
        if not space.moves:
            return ("nothing moves along trajectories beyond noise",)
        if not space.resolved:
            return (space.unresolved,)
        if space.motion.recordings < 2:
            return ("a single trajectory has one value of every quantity",)
        if not space.enough:
            return (f"{len(space.motion.values)} rows are too few for {len(self.library)} terms",)
        found += space.readings
        if not space.settled:
            found.append("the count rests on a single trajectory")
        if len(space.same):
            found.append(f"{len(space.same)} more have one value in the whole file")
        driven = space.margin > FAR_DRIVEN
        if not space.clear:
            found.append("others are rejected only by a narrow margin")
        elif self.next_ratio < FAR and not driven:
            found.append(f"the next combination changes by only {self.next_ratio**0.5:.2g} times the noise")
        limit = HIDDEN_THEN if driven else HIDDEN
        if worst := max(hidden, default=0.0) > limit:
            many = sum(one > limit for one in hidden) if worst else 0
            found.append(f"noise could hide a change of {limit:.0%} of the spread in {many} of them")
        return tuple(found)

    def readable(self) -> "LibrarySpace":
        """The same space with the terms that it needs alone; itself where these do not show as many."""
        kept = needed_terms(self.space)
        if not self.space.rank or len(kept) == len(self.library):
            return self
        of = self.space.motion.trajectories
        short = LibrarySpace.of(of, self.library.chosen(kept), self.noise_variance)
        return short if short.space.rank == self.space.rank else self

    def searched(self) -> Searched:
        """The same as a line of the answer."""
        doubts = self.doubts([])
        return Searched(
            self.library.label,
            len(self.library),
            self.library.largest,
            self.space.rank,
            self.independent,
            not doubts,
            "; ".join(doubts),
        )


def most_telling(found: Sequence[LibrarySpace]) -> LibrarySpace:
    """The library to believe: one whose count is clear, then the one that shows most independent quantities;
    of equals the plainest, which comes first.
    """
    return max(found, key=lambda one: (not one.doubts([]), one.independent))
