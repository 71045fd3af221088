"""A particle in a round well of degree four conserves its energy and its angular momentum, and no more."""

import jax

import noether_razor as nr


def main(trajectories=40):
    """Simulate the particle and ask what the terms of a library conserve."""
    well = nr.CustomSystem(2, "(p1^2 + p2^2)/2 + (q1^2 + q2^2)^2/4")
    data = nr.simulate(well, jax.random.key(0), trajectories=trajectories, transitions=39, dt=0.15)
    return nr.conserved_library(data)


if __name__ == "__main__":
    found = main()
    print(found)
    print("at most", found.ceiling, "can exist, decided:", found.decided)
