"""The laws of charges hold to rounding for the optimisers that have them, and fail where they should."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_networks import LOGITS, SYMMETRIES, Network, Trained, train

from noether_razor.learning import (
    LearningRule,
    OptimiserError,
    angular_steps,
    effective_learning_rate,
    green_function,
    largest_error,
    predict_charge,
    radius_from_gradients,
    rmsprop_equivalent,
    settling_steps,
    steady_angle,
    suggest,
)

STEPS = 600
K = 1e-2


def cosine(rate):
    return optax.cosine_decay_schedule(rate, STEPS, alpha=0.1)


def rests(step):
    return 0.05 * (step // 50 % 3 > 0)


def kernels(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)


def decayed(*parts, mask=None):
    return optax.chain(optax.add_decayed_weights(K, mask), *parts)


def beside(*parts, mask=None):
    """Decay beside the average, then the rate."""
    return optax.chain(*parts, optax.add_decayed_weights(K, mask), optax.scale_by_learning_rate(0.05))


POSITION = {
    "sgd": decayed(optax.sgd(0.1)),
    "heavy ball": decayed(optax.sgd(0.05, 0.9)),
    "heavy ball, cosine": decayed(optax.sgd(cosine(0.05), 0.9)),
    # The rate is zero at the start, and then and now.
    "heavy ball, rests": decayed(optax.sgd(rests, 0.9)),
    "nesterov": decayed(optax.sgd(0.05, 0.9, nesterov=True)),
    "nesterov, clipped, cosine": optax.chain(
        optax.clip_by_global_norm(0.3), decayed(optax.sgd(cosine(0.05), 0.9, nesterov=True))
    ),
    "sgdw": beside(optax.trace(0.9)),
    "nesterov, decay beside": beside(optax.trace(0.9, nesterov=True)),
    "dampened": decayed(optax.scale(0.4), optax.trace(0.9), optax.scale(-0.1)),
    "ema": decayed(optax.ema(0.9, debias=False), optax.scale(-0.3)),
    "ema, debiased": decayed(optax.ema(0.9), optax.scale(-0.3)),
    "ema, debiased, decay beside": beside(optax.ema(0.9)),
    "masked": decayed(optax.sgd(0.05, 0.9, nesterov=True), mask=kernels),
    "sgdw, masked": beside(optax.trace(0.9), mask=kernels),
}
MOMENTUM_ALONE = {
    "adamw": optax.adamw(1e-3, weight_decay=0.1),
    "adam with L2": decayed(optax.adam(cosine(1e-3))),
    "adam with L2, masked": decayed(optax.adam(1e-3), mask=kernels),
    "lion": optax.lion(1e-3, weight_decay=0.1),
}

SLOW = pytest.mark.slow
LONG = {
    *("heavy ball, cosine", "nesterov, clipped, cosine", "nesterov, decay beside", "dampened", "ema"),
    *("ema, debiased", "ema, debiased, decay beside", "sgdw, masked", "adam with L2, masked", "lion"),
}
"""The others go through the same code in the default suite."""


@cache
def trained(name: str) -> Trained:
    return train((POSITION | MOMENTUM_ALONE)[name], STEPS)


def momentum_error(charge, family) -> float:
    """Of the law of momenta, as a share of the largest charge; where decay stands beside, those of
    translations are 0: there, of their bound |pi| |xi|.
    """
    error = np.abs(charge.momentum - charge.momentum_predicted).max()
    size = np.abs(charge.momentum).max()
    if family is LOGITS:
        size = max(size, 1e-2)
    return float(error / size)


@pytest.mark.usefixtures("double_precision")
class TestLaws:
    @pytest.mark.parametrize("name", [pytest.param(k, marks=SLOW if k in LONG else ()) for k in POSITION])
    def test_positions_and_momenta_follow_their_laws_to_rounding(self, name):
        """From the start alone, so errors of all steps add up."""
        run = trained(name)
        for family, charge in zip(SYMMETRIES, run.charges, strict=True):
            assert float(charge.violation.max()) < 1e-12, family.name
            assert momentum_error(charge, family) < 1e-12, family.name
            # They move by much more than that.
            assert float(jnp.ptp(charge.value, axis=0).max() / charge.scale.max()) > 1e-2, family.name
            assert float(charge.breaking.max()) < 1e-13

    @pytest.mark.parametrize(
        "name", [pytest.param(k, marks=SLOW if k in LONG else ()) for k in MOMENTUM_ALONE]
    )
    def test_momenta_follow_their_law_under_adaptive_optimisers(self, name):
        run = trained(name)
        for family, charge in zip(SYMMETRIES, run.charges, strict=True):
            assert momentum_error(charge, family) < 1e-12, family.name
            assert float(charge.violation.max()) < 1e-12
            assert np.isnan(charge.predicted).all()

    def test_closed_forms_by_order(self):
        run = trained("heavy ball")
        rule = LearningRule.from_optax(POSITION["heavy ball"])
        charge = run.charges[0]
        values, kinetic = np.asarray(run.values(0)), np.asarray(charge.kinetic)
        errors = {
            order: largest_error(predict_charge(rule, values[0], kinetic, order), values)
            for order in ("exact", "2", "1")
        }
        assert errors["exact"] < 1e-10
        assert 1e-7 < errors["2"] < 5e-3
        assert errors["2"] < errors["1"] < 0.2
        # Step by step, as other rules are predicted, it is the same.
        by_steps = predict_charge(replace(rule, learning_rate=lambda n: 0.05 + 0 * n), values[0], kinetic)
        assert largest_error(by_steps, values) < 1e-10
        shifts = np.asarray(run.values(3))
        translated = predict_charge(rule, shifts[0], np.zeros_like(shifts[1:]), quadratic=False)
        assert largest_error(translated, shifts) < 1e-10

    @pytest.mark.parametrize(
        "name",
        [
            *("sgdw", "heavy ball, rests"),
            *(pytest.param(k, marks=SLOW) for k in ("nesterov, clipped, cosine", "ema, debiased")),
            pytest.param("ema, debiased, decay beside", marks=SLOW),
        ],
    )
    def test_closed_forms_of_other_rules(self, name):
        run = trained(name)
        rule, charge = LearningRule.from_optax(POSITION[name]), run.charges[0]
        lag = None if charge.memory.lag is None else np.asarray(charge.memory.lag)
        values = np.asarray(run.values(0))
        found = predict_charge(rule, values[0], np.asarray(charge.kinetic), lag=lag)
        assert largest_error(found, values) < 1e-10

    @pytest.mark.parametrize("name", ["nesterov", "sgdw"])
    def test_the_law_of_heavy_ball_fails_for_others(self, name):
        run = trained(name)
        values, kinetic = np.asarray(run.values(0)), np.asarray(run.charges[0].kinetic)
        heavy = LearningRule.from_optax(POSITION["heavy ball"])
        assert largest_error(predict_charge(heavy, values[0], kinetic), values) > 1e-3

    def test_gelu_has_no_rescaling_and_the_scale_before_the_normalisation_stays(self):
        run = train(POSITION["sgd"], STEPS, model=Network(float, activation=jax.nn.gelu))
        violation = [float(charge.violation.max()) for charge in run.charges]
        breaking = [float(charge.breaking.max()) for charge in run.charges]
        assert violation[0] < 1e-12 and violation[3] < 1e-12
        assert min(violation[1:3]) > 1e-4 and min(breaking[1:3]) > 1e-2

    def test_a_loss_of_the_weights_breaks_the_scale(self):
        def penalty(model):
            return 0.1 * jnp.sum(jnp.abs(model.layers[0].kernel[...]))

        run = train(POSITION["sgd"], STEPS, penalty=penalty)
        assert float(run.charges[0].violation.max()) > 1e-2
        assert float(run.charges[0].breaking.max()) > 1e-2
        assert float(run.charges[2].violation.max()) < 1e-12


def test_float32_stays_within_its_rounding():
    run = train(POSITION["heavy ball"], STEPS, dtype=jnp.float32)
    assert max(float(charge.violation.max()) for charge in run.charges) < 1e-4
    assert all(charge.value.dtype == jnp.float32 for charge in run.charges)


class TestReading:
    def test_parts_of_a_chain(self):
        read = LearningRule.from_optax
        assert read(optax.sgd(0.1)) == LearningRule(0.1)
        assert read(decayed(optax.sgd(0.1, 0.9))) == LearningRule(0.1, 0.9, decay=K)
        assert read(optax.sgd(0.1, 0.9, nesterov=True)) == LearningRule(0.1, 0.9, nesterov=True)
        assert read(beside(optax.trace(0.9))) == LearningRule(0.05, 0.9, decay=K, decoupled=True)
        assert read(optax.adam(1e-3)) == LearningRule(1e-3, 0.9, 0.9, adaptive=True)
        assert read(optax.lion(1e-3)).momentum == 0.99
        clipped = read(optax.chain(optax.clip_by_global_norm(2.0), optax.sgd(0.1)))
        assert clipped.clip == 2.0
        # What scales gradients before decay makes decay count for more.
        scaled = read(optax.chain(optax.scale(0.5), decayed(optax.trace(0.9), optax.scale(-0.1))))
        assert scaled == LearningRule(0.1, 0.9, dampening=0.5, decay=2 * K)
        scheduled = read(optax.sgd(cosine(0.1), 0.9))
        np.testing.assert_allclose(
            np.asarray(scheduled.rate(np.arange(3))),
            np.array([np.asarray(cosine(0.1)(n)) for n in range(3)]),
            rtol=1e-6,
        )

    @pytest.mark.parametrize(
        ("optimizer", "words"),
        [
            (optax.rmsprop(0.1), "scale_by_rms"),
            (optax.chain(optax.clip(0.1), optax.sgd(0.1)), "clip"),
            (decayed(optax.clip_by_global_norm(1.0), optax.sgd(0.1)), "before"),
            (optax.sgd(-0.1), "against the gradient"),
            (optax.add_decayed_weights(lambda n: 0.1 * n), "schedule of the weight decay"),
            (optax.masked(optax.sgd(0.1), True), "mask"),
            (optax.chain(optax.trace(0.9), optax.trace(0.9)), "another average"),
            (decayed(beside(optax.trace(0.9))), "twice"),
            (optax.stateless(lambda updates, params: updates), "stateless"),
        ],
    )
    def test_what_cannot_be_read_is_refused_in_one_sentence(self, optimizer, words):
        with pytest.raises(OptimiserError, match=words) as refused:
            LearningRule.from_optax(optimizer)
        assert "\n" not in str(refused.value)

    def test_a_momentum_of_one_is_refused(self):
        with pytest.raises(OptimiserError, match="momentum"):
            LearningRule(0.1, 1.0)


class TestPredictions:
    RULE = LearningRule(0.02, 0.9, decay=5e-3)

    @pytest.mark.parametrize("decay", [5e-3, 0.0, 1.31667, 40.0])
    def test_the_response_to_a_push_solves_its_equation(self, decay):
        """Overdamped, without decay, near the double root, oscillating."""
        rule = replace(self.RULE, decay=decay)
        green = green_function(rule, 200)
        left = green[2:] - (1.9 - 0.04 * decay) * green[1:-1] + 0.9 * green[:-2]
        np.testing.assert_allclose(left, 0, atol=1e-9 * np.abs(green).max())
        assert green[0] == pytest.approx(1) and green[1] == pytest.approx(1.9 - 0.04 * decay)

    def test_a_double_root_is_no_division_by_zero(self):
        # (1 + beta - 2 eta k)^2 = 4 beta
        decay = (1.9 - 2 * np.sqrt(0.9)) / 0.04
        green = green_function(replace(self.RULE, decay=decay), 50)
        np.testing.assert_allclose(green, (np.arange(51) + 1) * np.sqrt(0.9) ** np.arange(51), rtol=1e-6)

    def test_angles_of_turning_vectors(self):
        rng = np.random.default_rng(0)
        path = rng.normal(size=(6, 3, 4))
        kinetic = (np.diff(path, axis=0) ** 2).sum(axis=2)
        cosines = (path[1:] * path[:-1]).sum(axis=2) / np.sqrt(
            (path[1:] ** 2).sum(axis=2) * (path[:-1] ** 2).sum(axis=2)
        )
        np.testing.assert_allclose(
            angular_steps((path**2).sum(axis=2), kinetic), np.arccos(cosines), rtol=1e-10
        )

    @pytest.mark.parametrize(
        "rule",
        [
            LearningRule(0.1, 0.0, decay=0.02),
            LearningRule(0.02, 0.9, decay=0.05),
            LearningRule(0.02, 0.9, decay=0.05, nesterov=True),
            LearningRule(0.02, 0.9, decay=0.5, decoupled=True),
            LearningRule(0.2, 0.9, 0.9, decay=0.05),
        ],
        ids=["sgd", "heavy ball", "nesterov", "sgdw", "ema"],
    )
    def test_the_steady_angle_is_that_of_white_gradients_on_a_sphere(self, rule):
        """Gradients of scale-invariant weights, orthogonal to them and as their inverse; 300 weights."""
        rng = np.random.default_rng(0)
        q, average = rng.normal(size=(300, 40)), np.zeros((300, 40))
        rate, beta, kept = rule.learning_rate, rule.momentum, 1 - rule.dampening
        angles = []
        for n in range(int(12 * settling_steps(rule))):
            g = rng.normal(size=q.shape)
            squares = (q**2).sum(axis=1, keepdims=True)
            g = (g - q * (g * q).sum(axis=1, keepdims=True) / squares) / np.sqrt(squares)
            enters = kept * (g + (0 if rule.decoupled else rule.decay * q))
            average = beta * average + enters
            step = -rate * (
                (enters + beta * average if rule.nesterov else average) + rule.decoupled * rule.decay * q
            )
            if n > 8 * settling_steps(rule):
                after = ((q + step) ** 2).sum(axis=1)
                angles.append(angular_steps(np.stack([squares[:, 0], after]), (step**2).sum(axis=1)[None])[0])
            q = q + step
        assert float(np.sqrt(np.mean(np.square(angles)))) == pytest.approx(steady_angle(rule), rel=0.05)

    def test_suggestions_give_the_wanted_angle(self):
        for given in ({"learning_rate": 0.1}, {"decay": 5e-3}):
            found = suggest(0.05, momentum=0.9, **given)
            assert steady_angle(LearningRule(found.learning_rate, 0.9, decay=found.decay)) == pytest.approx(
                0.05
            )
            assert "0.05 rad a step" in str(found)
        with pytest.raises(ValueError, match="the other"):
            suggest(0.05, decay=1.0, learning_rate=1.0)
        with pytest.raises(ValueError, match="angle"):
            suggest(-1.0, decay=1.0)

    def test_effective_rates(self):
        np.testing.assert_allclose(effective_learning_rate(self.RULE, np.array([1.0, 4.0])), [0.2, 0.05])
        ema = LearningRule(0.2, 0.9, 0.9)
        assert effective_learning_rate(ema, 1.0) == pytest.approx(0.2)

    def test_the_equivalent_rmsprop_follows_the_norm(self):
        rule = LearningRule(0.1, decay=5e-3)
        rms = rmsprop_equivalent(rule)
        assert rms.rho == pytest.approx(np.exp(-4 * 0.1 * 5e-3)) and rms.learning_rate**2 == pytest.approx(
            1e-3
        )
        average = rms.start(1.7)
        assert rms.squared_norm(average) == pytest.approx(1.7)
        # The step eta / r^2 on the sphere is that of the rate over the root of the average.
        assert rms.learning_rate / np.sqrt(average) == pytest.approx(0.1 / 1.7)
        squares = np.full((50, 1), 0.3)
        radius = radius_from_gradients(rule, np.array([1.7]), squares)
        for _ in range(50):
            average = rms.rho * average + rms.source * np.sqrt(rms.rho) * 0.3
        assert radius[-1, 0] == pytest.approx(rms.squared_norm(average))
        with pytest.raises(OptimiserError):
            rmsprop_equivalent(LearningRule(0.1))

    def test_adaptive_rules_have_no_closed_form(self):
        adam = LearningRule(1e-3, 0.9, 0.9, adaptive=True, decay=0.1)
        with pytest.raises(OptimiserError, match="momenta"):
            predict_charge(adam, 1.0, np.zeros((3,)))
        with pytest.raises(OptimiserError):
            steady_angle(adam)
        with pytest.raises(OptimiserError, match="lag"):
            predict_charge(replace(self.RULE, nesterov=True), 1.0, np.zeros((3,)))
