"""A quartic well conserves its energy, which is of degree four."""

import jax
import jax.numpy as jnp
import sympy

import noether_razor as nr
from noether_razor.invariants import FunctionDictionary, Term, register_dictionary
from noether_razor.reporting import headline


def terms(state):
    """Of numbers or of symbols."""
    q, p = state
    return [q, p, q**2, q * p, p**2, q**4]


@register_dictionary("quartic")
def quartic(names, periods):
    """For two variables called `names`; `periods` say which of them are angles."""
    return FunctionDictionary(
        family="quartic",
        variables=names,
        terms=tuple(Term.of(term) for term in terms(sympy.symbols(names))),
        function=lambda state: jnp.stack(terms(state)),
    )


def main(trajectories=12):
    """Simulate a particle in the well and ask what it conserves."""
    well = nr.CustomSystem(1, "p1^2/2 + q1^4/4")
    data = nr.simulate(well, jax.random.key(0), trajectories=trajectories, transitions=60, dt=0.2)
    return nr.data_answer(data, dictionary="quartic")


if __name__ == "__main__":
    found = main()
    print(headline(found.to_json()))
    print(found.quantities[0].expression)
