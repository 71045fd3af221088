"""What a user wants the Hamiltonian of the evidence to be a sum of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..exact_evidence import EvidenceError
from ..exact_evidence.choice import MOST_TERMS, SCATTERED, Builder, Kind
from ..exact_evidence.features import LinearFeatures
from ..exact_evidence.proposals import scattered_features
from ..scaling import PhaseScale
from ..spelling import suggestion
from ..trajectories import Trajectories
from .features import LibraryFeatures
from .library import Library
from .options import LibraryError
from .user_terms import user_terms

SMOOTH: tuple[Kind, ...] = ("radial", "fourier")
Word = Literal["polynomials", "library", "radial", "fourier", ""]
WORDS: tuple[Word, ...] = ("polynomials", "library", *SMOOTH)


@dataclass(frozen=True)
class FeatureChoice:
    """One of `WORDS`, empty where the data say, and formulas of further terms."""

    word: Word
    terms: tuple[str, ...]

    def builder(self, data: Trajectories, degree: int | None) -> Kind | Builder:
        """What `exact_evidence.evidence` calls them."""
        if self.word not in SMOOTH:
            return "polynomials"
        if not self.terms:
            return self.word
        own = user_terms(self.terms, data, "features")
        assert own is not None
        library, kind = Library.of((own,), "your terms", 0), SCATTERED[self.word]

        def build(scaled: Trajectories, scale: PhaseScale) -> LinearFeatures:
            terms = LibraryFeatures.of(library, scale, scale.states_back(scaled.points()))
            return scattered_features(kind, scaled, degree, MOST_TERMS, (terms,))

        return build


def features_of(texts: str | Sequence[str], data: Trajectories) -> FeatureChoice:
    """What the words and formulas mean. Raises `EvidenceError` for others."""
    texts = [text for text in ([texts] if isinstance(texts, str) else texts) if text.strip()]
    words: list[Word] = [word for word in WORDS if word in texts]
    terms = tuple(text for text in texts if text not in WORDS)
    if len(words) > 1:
        raise EvidenceError(
            f"features: got {' and '.join(words)}, expected one of them and formulas of terms"
        )
    for text in terms:
        if text.isidentifier() and text not in data.names:
            raise EvidenceError(
                f"features: {text!r} is neither a formula nor a word, {suggestion(text, WORDS)}"
            )
    try:
        user_terms(terms, data, "features")
    except LibraryError as error:
        raise EvidenceError(str(error)) from None
    return FeatureChoice(words[0] if words else "", terms)
