"""Logarithms of positive coordinates beside monomials: what populations conserve."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import sympy
from jaxtyping import Float

from .dictionary import Dictionary, Term
from .monomials import Monomials


@dataclass(frozen=True, eq=False, kw_only=True)
class WithLogarithms(Dictionary):
    """log(x) of some coordinates, which are `logarithmic` and must be positive, then all `monomials`."""

    logarithmic: tuple[int, ...] = field(repr=False)
    monomials: Monomials = field(repr=False)

    @classmethod
    def of(cls, names: Sequence[str], positive: Sequence[str], degree: int) -> "WithLogarithms":
        """Those in variables of these names up to a degree, with logarithms of the `positive` ones."""
        monomials = Monomials.of(names, degree)
        logarithms = [Term.of(sympy.log(sympy.Symbol(name))) for name in positive]
        return cls(
            family=f"logarithms and degree {degree}",
            variables=tuple(names),
            terms=(*logarithms, *monomials.terms),
            logarithmic=tuple(list(names).index(name) for name in positive),
            monomials=monomials,
        )

    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows M"]:
        return np.hstack([np.log(states[:, self.logarithmic]), self.monomials.values(states)])

    def slopes(self, states: Float[np.ndarray, "rows dim"], coordinate: int) -> Float[np.ndarray, "rows M"]:
        own = self._own(1 / states, coordinate)
        return np.hstack([own, self.monomials.slopes(states, coordinate)])

    def bends(
        self, states: Float[np.ndarray, "rows dim"], first: int, second: int
    ) -> Float[np.ndarray, "rows M"]:
        own = self._own(-1 / states**2, first) * (first == second)
        return np.hstack([own, self.monomials.bends(states, first, second)])

    def moved(
        self, shift: Float[np.ndarray, " dim"], scales: Float[np.ndarray, " dim"]
    ) -> Float[np.ndarray, "M M"] | None:
        return None

    def _own(
        self, derivatives: Float[np.ndarray, "rows dim"], coordinate: int
    ) -> Float[np.ndarray, "rows logarithms"]:
        """The derivatives of the logarithms by one coordinate."""
        return derivatives[:, self.logarithmic] * (np.array(self.logarithmic) == coordinate)
