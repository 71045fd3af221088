"""Trajectories of quadratic Hamiltonians by the matrix exponential: exact, and without an integrator."""

import numpy as np

from noether_razor.trajectories import Trajectories


def linear_motion(
    hessian: np.ndarray, seed: int = 0, count: int = 60, length: int = 30, dt: float = 0.2
) -> Trajectories:
    """Noise-free trajectories of H = x^T A x / 2 from standard normal states."""
    dim = len(hessian)
    dof = dim // 2
    generator = np.concatenate([hessian[dof:], -hessian[:dof]])
    # exp(h G) at a small h, squared.
    small = dt * generator / 1024
    step = np.eye(dim)
    term = np.eye(dim)
    for order in range(1, 8):
        term = term @ small / order
        step = step + term
    step = np.linalg.matrix_power(step, 1024)
    states = [np.random.default_rng(seed).normal(size=(count, dim))]
    for _ in range(length - 1):
        states.append(states[-1] @ step.T)
    times = np.tile(dt * np.arange(length, dtype=np.float64), (count, 1))
    return Trajectories(times, np.stack(states, axis=1))


def oscillations(seed: int, frequencies: list[float], count: int = 60, length: int = 30) -> Trajectories:
    """Noise-free trajectories of oscillators, H = sum_i f_i (q_i^2 + p_i^2) / 2."""
    return linear_motion(np.diag([*frequencies, *frequencies]), seed, count, length)


def noisy(seed: int, trajectories: Trajectories, variance: np.ndarray | float) -> Trajectories:
    """The same with normal noise of `variance` on all states."""
    random = np.random.default_rng(seed)
    states = trajectories.states + np.sqrt(variance) * random.normal(size=trajectories.states.shape)
    return Trajectories(trajectories.times, states)
