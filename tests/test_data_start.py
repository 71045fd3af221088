"""Learned quantities can start from what the data alone say is conserved."""

import numpy as np
import pytest

from noether_razor.app.config import ConfigError, build_problem, parse_config
from noether_razor.quantities import QuadraticQuantities, principal_cosines, singular_directions


def tables(**symmetry: object) -> dict:
    return {
        "system": {"kind": "oscillators", "dof": 2},
        "data": {"trajectories": 20, "transitions": 20},
        "network": {"layers": 2, "width": 8},
        "symmetry": {"initial_scale": 0.01, **symmetry},
    }


def built(config: dict) -> QuadraticQuantities:
    quantities = build_problem(parse_config(config)).posterior.quantities
    assert isinstance(quantities, QuadraticQuantities)
    return quantities


def test_data_start_spans_the_true_space_and_the_rest_is_random():
    system = build_problem(parse_config(tables())).system
    assert system is not None
    quantities = built(tables(initialise="data", quantities=6))
    started = QuadraticQuantities(quantities.matrices[...][:4], quantities.vectors[...][:4])
    known = system.known_quantities()
    assert known is not None
    np.testing.assert_allclose(principal_cosines(singular_directions(started)[1], known), 1, atol=1e-4)
    # w in [-1, 1] covers the circle of each once.
    frequencies = np.abs(np.linalg.eigvals(np.asarray(started.generators(), float)).imag).max(axis=1)
    np.testing.assert_allclose(frequencies, 1, rtol=1e-4)
    random = built(tables(quantities=6))
    np.testing.assert_array_equal(quantities.matrices[...][4:], random.matrices[...][4:])
    np.testing.assert_array_equal(quantities.vectors[...][4:], random.vectors[...][4:])
    assert np.abs(random.matrices[...]).max() < 0.1


def test_no_more_quantities_than_asked_for():
    assert built(tables(initialise="data", quantities=2)).count == 2


def test_noise_on_the_states_and_nothing_to_find_start_as_well():
    noisy = tables(initialise="data", quantities=4)
    noisy["data"] |= {"noise_on": "states", "trajectories": 60, "transitions": 40}
    assert np.abs(built(noisy).matrices[...]).max(axis=(1, 2)).min() > 0.1
    nothing = tables(initialise="data", quantities=4)
    nothing["system"] = {"kind": "custom", "dof": 2, "hamiltonian": "(p1**2 + p2**2)/2 + q1**4 + q2**4"}
    assert np.abs(built(nothing).matrices[...]).max() < 0.1


def test_too_few_data_and_other_values_are_one_line():
    few = tables(initialise="data")
    few["data"] = {"trajectories": 7, "transitions": 4}
    with pytest.raises(ConfigError, match=r"^symmetry\.initialise: data needs 49 rows, got 35; [^\n]*$"):
        build_problem(parse_config(few))
    few["data"]["trajectories"] = 1
    with pytest.raises(ConfigError, match=r"^symmetry\.initialise: data needs 43 rows, got 5[^\n]*$"):
        build_problem(parse_config(few))
    with pytest.raises(ConfigError, match=r"symmetry\.initialise: .*'random' or 'data'"):
        parse_config(tables(initialise="null"))
