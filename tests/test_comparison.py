"""What differences of the ELBO may be said to show: paired errors, settled differences, an invariant H."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from exact_trajectories import noisy, oscillations
from flax import nnx

from noether_razor.discovery import RECIPE, Bound, Gain, Hypothesis, HypothesisAnswer, Refits, gain, judgement
from noether_razor.discovery import comparison as refits_module
from noether_razor.discovery.comparison import MOST_ROUNDS, settled_gain
from noether_razor.discovery.invariance import INVARIANT, bracket, learned_bracket
from noether_razor.inference import ELBOEstimate
from noether_razor.modelling import Problem, make_problem
from noether_razor.options import EstimateOptions, NetworkOptions
from noether_razor.quadratic_forms import Quadratics
from noether_razor.symmetry import BuiltIn, CannotBuildInError
from noether_razor.training import FitResult, initial_state

CENTRE = Quadratics(np.diag([1.0, 0.0, 1.0, 0.0])[None], np.zeros((1, 4)), np.zeros(1))
MOMENTUM = Quadratics(np.zeros((1, 4, 4)), np.eye(4)[2:3], np.zeros(1))
TWO = Quadratics(
    np.stack([np.diag([1.0, 0.0, 1.0, 0.0]), np.diag([0.0, 1.0, 0.0, 1.0])]), np.zeros((2, 4)), np.zeros(2)
)


def bound(*rounds: tuple[float, ...], bracket: float | None = None) -> Bound:
    return Bound(rounds, (1.0,) * len(rounds[-1]), bracket)


class TestGain:
    def test_its_error_is_that_of_the_differences_of_each_seed(self):
        none = bound((300.0, 0.0, 900.0), (34.0, 56.0, 1045.0))
        fit = bound((200.0, -103.0, 805.0), (-60.0, -40.0, 950.0))
        found = gain(none, fit)
        # Differences 94, 96, 95: the seeds themselves scatter by hundreds.
        assert found == (95.0, pytest.approx(1 / np.sqrt(3)), 3, False)
        assert none.stderr > 100
        assert gain(bound((1.0, 0.0, 2.0), none.totals), bound((-94.0, -95.0, -93.0), fit.totals)).settled

    def test_later_rounds_of_one_of_the_two_do_not_count(self):
        none = bound((10.0, 20.0), (5.0, 12.0), (-500.0, -500.0))
        assert gain(none, bound((0.0, 0.0), (1.0, 2.0))).nats == 7.0

    def test_one_pair_has_none(self):
        assert gain(bound((45.0,)), bound((-50.0,))) == (95.0, None, 1, False)
        # So have fits of other seeds.
        assert gain(bound((45.0, 47.0)), bound((-50.0,))) == (96.0, None, 1, False)


class TestJudgement:
    @pytest.mark.parametrize(
        ("nats", "stderr", "seeds", "verdict"),
        [
            (100.0, 5.0, 3, "accepted"),
            (-100.0, 5.0, 3, "rejected"),
            # Three standard errors of three seeds are met by chance in one of ten cases.
            (30.0, 5.0, 3, "undecided"),
            (30.0, 5.0, 10, "accepted"),
            (100.0, 5.0, 2, "undecided"),
        ],
    )
    def test_few_seeds_need_large_differences(self, nats, stderr, seeds, verdict):
        found = judgement(bound((0.0,) * seeds, bracket=0.0), Gain(nats, stderr, seeds, True))
        assert found.verdict == verdict and bool(found.why) == (verdict == "undecided")

    def test_chance_is_as_large_as_it_says(self):
        draws = np.random.default_rng(0).normal(size=(20_000, 3))
        said = [
            judgement(bound((0.0,) * 3), Gain(float(d.mean()), float(d.std(ddof=1) / 3**0.5), 3, True))
            for d in draws[:4000]
        ]
        wrong = np.mean([one.verdict != "undecided" for one in said])
        assert 0.005 < wrong < 0.016

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"settled": False}, "not settled"),
            ({"stderr": None, "seeds": 1}, "one fit of each kind has no error"),
        ],
    )
    def test_what_is_no_evidence_says_why(self, changes, why):
        sure = Gain(1e4, 1.0, 3, True)
        assert judgement(bound((0.0,) * 3, bracket=0.0), sure._replace(**changes)) == ("undecided", why)

    @pytest.mark.parametrize("nats", [1e4, -1e4])
    def test_a_refit_that_is_not_invariant_says_nothing(self, nats):
        said = judgement(bound((0.0,) * 3, bracket=0.231), Gain(nats, 1.0, 3, True))
        assert said == ("undecided", "the refit's H is not invariant ({C, H} is 23 %)")
        assert judgement(bound((0.0,) * 3, bracket=INVARIANT), Gain(1e4, 1.0, 3, True)).verdict == "accepted"


class TestWhoDecides:
    ASKED = Hypothesis("q1*p2 - q2*p1", np.zeros((1, 4, 4)), np.zeros((1, 4)))

    def said(self, **changes: Any) -> tuple[str, str]:
        fit = bound((0.0,) * 3, bracket=0.0)
        against = {"none": Gain(1e4, 1.0, 3, True)}
        known = HypothesisAnswer(self.ASKED, "conserved", 0.0, 0.01, fit=fit, against=against)
        changed = replace(known, **changes)
        assert HypothesisAnswer.from_json(changed.to_json()).to_json() == changed.to_json()
        return changed.engine, changed.answer

    def test_the_exact_evidence_where_it_gives_a_verdict_and_the_bound_where_it_does_not(self):
        assert self.said() == ("bound", "supported")
        assert self.said(exact="exact") == ("exact", "supported")
        assert self.said(exact="approximate") == ("exact", "approximate")
        assert self.said(exact="rejected") == ("exact", "rejected")
        assert self.said(exact="undecided") == ("exact", "undecided")

    def test_the_data_before_both(self):
        for verdict in ("not conserved", "slowly drifting"):
            assert self.said(exact="exact", data_verdict=verdict) == ("data", "rejected")
        assert self.said(exact="exact", data_verdict="the same everywhere") == ("data", "undecided")
        assert self.said(fit=None, against={}) == ("data", "undecided")

    def test_a_bound_that_is_no_evidence_decides_nothing(self):
        assert self.said(fit=bound((0.0,) * 3, bracket=0.2)) == ("bound", "undecided")
        assert self.said(against={"none": Gain(1e4, None, 1, False)}) == ("bound", "undecided")


@pytest.fixture(scope="module")
def problem() -> Problem:
    """A small network on a file of two equal oscillators with noise of 2 %."""
    data = noisy(1, oscillations(0, [1.0, 1.0], count=8, length=15), 0.02**2)
    options = replace(
        RECIPE,
        network=NetworkOptions(layers=2, width=8),
        training=replace(RECIPE.training, steps=31),
        estimates=EstimateOptions(weight_samples=2, group_samples=32),
    )
    return make_problem(data, options, seed=5)


class TestRefits:
    def test_all_kinds_have_the_same_seeds_networks_and_schedule(self, problem):
        kinds = [Refits(problem, "none", 3), Refits(problem, "fixed", 3, CENTRE)]
        kinds += [Refits(problem, "fixed", 3, MOMENTUM), Refits(problem, "learned", 3)]
        for one, *others in zip(*(kind.problems for kind in kinds), strict=True):
            network = jax.tree.leaves(nnx.state(one.posterior.network))
            for other in others:
                assert (one.seed, one.estimator, one.observations.size) == (
                    other.seed,
                    other.estimator,
                    other.observations.size,
                )
                same = replace(other.training, learn_quantities=one.training.learn_quantities)
                assert same == one.training
                for mine, theirs in zip(
                    network, jax.tree.leaves(nnx.state(other.posterior.network)), strict=True
                ):
                    np.testing.assert_array_equal(mine, theirs)
        seeds = {each.seed for each in kinds[0].problems}
        assert len(seeds) == 3

    def test_only_an_average_over_several_flows_grows_into_it(self, problem):
        both = Refits(problem, "fixed", 2, TWO).problems[0]
        assert isinstance(both.posterior.quantities, BuiltIn)
        assert (both.training.group_warmup, both.training.steps) == (11, 16)

    def test_what_cannot_be_built_in_is_no_fit(self, problem):
        dilation = np.zeros((1, 4, 4))
        dilation[0, 0, 2] = dilation[0, 2, 0] = 1.0
        with pytest.raises(CannotBuildInError, match="cannot judge"):
            Refits(problem, "fixed", 2, Quadratics(dilation, np.zeros((1, 4)), np.zeros(1)))

    def test_rounds_go_on_until_the_difference_settles(self, problem, monkeypatch):
        totals = replay(monkeypatch, {"none": [100.0, 40.0, 10.0, 9.0], "fixed": [90.0, 0.0, -20.0, -21.0]})
        none, fit = Refits(problem, "none", 2), Refits(problem, "fixed", 2, CENTRE)
        found = settled_gain(none, fit)
        # 10, 40, 30, 30 times the number of transitions.
        assert found.settled and len(fit.rounds) == 4 and totals() == 16
        assert found.nats == pytest.approx(30 * none.problems[0].objective.total)

    def test_rounds_end(self, problem, monkeypatch):
        replay(monkeypatch, {"none": [0.0] * 9, "fixed": [-(2.0**k) for k in range(9)]})
        none, fit = Refits(problem, "none", 2), Refits(problem, "fixed", 2, CENTRE)
        assert not settled_gain(none, fit).settled and len(fit.rounds) == MOST_ROUNDS

    def test_a_refit_that_is_not_invariant_is_not_trained_longer(self, problem, monkeypatch):
        replay(monkeypatch, {"none": [0.0] * 9, "fixed": [-(2.0**k) for k in range(9)]}, broken=0.5)
        fit = Refits(problem, "fixed", 2, CENTRE)
        settled_gain(Refits(problem, "none", 2), fit)
        assert len(fit.rounds) == 2 and not fit.bound().invariant

    def test_one_seed_has_one_round_of_all_steps(self, problem, monkeypatch):
        replay(monkeypatch, {"none": [0.0], "fixed": [-1.0]})
        none, fit = Refits(problem, "none", 1), Refits(problem, "fixed", 1, CENTRE)
        assert settled_gain(none, fit).stderr is None
        assert (len(fit.rounds), fit.problems[0].training.steps) == (1, 31)


def replay(monkeypatch: pytest.MonkeyPatch, reached: dict[str, list[float]], broken: float = 0.0) -> Callable:
    """Fits that reach these -ELBO / N, round by round, up to a scatter of the seeds that is common to all."""
    done: dict[tuple[str, int], int] = {}

    def fitted(posterior: Any, data: Any, objective: Any, training: Any, **_: Any) -> FitResult:
        return FitResult(posterior, initial_state(posterior, training), [])

    def estimated(again: Problem, *_: Any) -> ELBOEstimate:
        kind = "none" if again.posterior.quantities is None else "fixed"
        number = done[kind, again.seed] = done.get((kind, again.seed), -1) + 1
        scatter = (again.seed % 1000) / 7 + (0.01 * (again.seed % 3) if kind == "fixed" else 0.0)
        value = reached[kind][number] + scatter
        return ELBOEstimate(value, value, 0.1, 0.0)

    monkeypatch.setattr(refits_module, "fit", fitted)
    monkeypatch.setattr(refits_module, "elbo_estimate", estimated)
    monkeypatch.setattr(refits_module, "learned_bracket", lambda *_: broken)
    return lambda: sum(number + 1 for number in done.values())


class TestInvariance:
    def test_it_is_the_share_of_the_largest_possible_bracket(self):
        states = np.random.default_rng(0).normal(size=(500, 4))
        # H = q1 and C = p1: the bracket is as large as it can be; C = q2 commutes with it.
        slopes = np.tile(np.eye(4)[0], (500, 1))
        assert bracket(states, slopes, MOMENTUM) == pytest.approx(1.0)
        assert bracket(states, slopes, Quadratics(np.zeros((1, 4, 4)), np.eye(4)[1:2], np.zeros(1))) == 0.0
        # The worst of several counts.
        both = Quadratics(np.zeros((2, 4, 4)), np.eye(4)[1:3], np.zeros(2))
        assert bracket(states, slopes, both) == pytest.approx(1.0)

    def test_a_planted_h_that_is_not_invariant_is_seen_and_vetoed(self, problem):
        free, turned = Refits(problem, "none", 1).problems[0], Refits(problem, "fixed", 1, CENTRE).problems[0]
        broken = learned_bracket(problem, free.posterior, CENTRE, jax.random.key(0))
        kept = learned_bracket(problem, turned.posterior, CENTRE, jax.random.key(0))
        assert kept < 0.01 < INVARIANT < broken
        sure = Gain(1e4, 1.0, 3, True)
        assert judgement(bound((0.0,) * 3, bracket=kept), sure).verdict == "accepted"
        assert "not invariant" in judgement(bound((0.0,) * 3, bracket=broken), sure).why
