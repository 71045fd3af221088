"""Linear algebra on one thread."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def one_thread() -> AbstractContextManager[object]:
    """A block in which a BLAS has one thread: several spin while they wait for each other, and beside other
    work that takes three to twelve times as long.
    """
    return threadpool_limits(1, user_api="blas")


def on_one_thread(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function in such a block: for functions of many small products."""

    @wraps(function)
    def limited(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
        with one_thread():
            return function(*args, **options)

    return limited
