"""The error of files that cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DataFileError(ValueError):
    """A data file that cannot be used: which file, where in it, and why."""

    def __init__(self, path: str | Path, where: str, why: str):
        self.path, self.where, self.why = Path(path), where, why
        super().__init__(f"{path}: {where}: {why}" if where else f"{path}: {why}")

    def __reduce__(self) -> tuple[type, tuple[Path, str, str]]:
        return type(self), (self.path, self.where, self.why)


@contextmanager
def reading(path: Path, damaged: str = "") -> Iterator[None]:
    """Turns what goes wrong while a file is read into `DataFileError`; with `damaged`, why, the many kinds of
    errors that readers raise on damaged bytes, too.
    """
    try:
        yield
    except DataFileError:
        raise
    except FileNotFoundError:
        raise DataFileError(path, "", "no such file") from None
    except OSError as error:
        raise DataFileError(path, "", f"cannot be read ({error.strerror or error})") from None
    except Exception as error:
        if not damaged:
            raise
        raise DataFileError(path, "", damaged) from error
