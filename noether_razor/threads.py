"""Linear algebra on one thread."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def on_one_thread(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, for which a BLAS has one thread.

    It is for functions of many small products: the threads of a BLAS spin while they wait for each other, and
    beside other work that takes three to twelve times as long.
    """

    @wraps(function)
    def limited(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
        with threadpool_limits(1, user_api="blas"):
            return function(*args, **options)

    return limited
