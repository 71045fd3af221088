"""How often arbitrary numbers get a name, and up to which relative error simple ones do: two tables."""

import argparse
from collections.abc import Sequence

import numpy as np

from noether_razor.invariants.simple_numbers import simple_number

TRUE = {
    "1": 1.0,
    "2": 2.0,
    "1/2": 1 / 2,
    "3": 3.0,
    "4": 4.0,
    "1/4": 1 / 4,
    "3/2": 3 / 2,
    "2/3": 2 / 3,
    "4/3": 4 / 3,
    "5/3": 5 / 3,
    "3/4": 3 / 4,
    "5": 5.0,
    "7/2": 7 / 2,
    "5/4": 5 / 4,
    "6/5": 6 / 5,
    "sqrt(2)": 2**0.5,
    "1/sqrt(2)": 2**-0.5,
    "sqrt(3)": 3**0.5,
    "2*sqrt(2)": 8**0.5,
    "golden": (1 + 5**0.5) / 2,
}


def arbitrary(law: str, random: np.random.Generator, draws: int) -> np.ndarray:
    """Numbers between 0.1 and 10: `law` is log-uniform, uniform or normal (of standard deviation 1)."""
    if law == "log-uniform":
        return 10 ** random.uniform(-1, 1, draws)
    if law == "uniform":
        return random.uniform(0.1, 10, draws)
    numbers = np.abs(random.normal(size=2 * draws))
    return numbers[(numbers > 0.1) & (numbers < 10)][:draws]


def share_named(true: np.ndarray, errors: np.ndarray, random: np.random.Generator) -> float:
    """The share of numbers that get a name, measured with relative errors."""
    errors = errors * true
    measured = true + errors * random.normal(size=true.shape)
    return float(np.mean([simple_number(*pair) is not None for pair in zip(measured, errors, strict=True)]))


def largest_error(number: float) -> float:
    """The largest relative error at which a simple number gets its name."""
    least, most = -6.0, 0.0
    for _ in range(40):
        middle = (least + most) / 2
        if simple_number(number, 10**middle * number) is None:
            most = middle
        else:
            least = middle
    return 10**least


def tables(draws: int) -> str:
    """Both tables in Markdown."""
    random = np.random.default_rng(0)
    lines = [
        "| arbitrary number | 1e-5 to 1e-4 | 1e-4 to 1e-3 | 1e-3 to 1e-2 | 1e-2 to 1e-1 |",
        "|---|---|---|---|---|",
    ]
    for law in ("log-uniform", "uniform", "normal"):
        shares = [
            share_named(arbitrary(law, random, draws), 10 ** random.uniform(least, least + 1, draws), random)
            for least in range(-5, -1)
        ]
        lines.append(f"| {law} | " + " | ".join(f"{share:.2%}" for share in shares) + " |")
    lines += ["", "| true number | up to an error of | named there |", "|---|---|---|"]
    few = draws // 10
    for name, number in TRUE.items():
        most = largest_error(number)
        share = share_named(np.full(few, number), np.full(few, 0.99 * most), random)
        lines.append(f"| {name} | {100 * most:.3f} % | {share:.1%} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20_000, help="numbers for each entry")
    print(tables(parser.parse_args(arguments).draws), end="")


if __name__ == "__main__":
    main()
