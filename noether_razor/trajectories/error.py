"""The error of files that cannot be used."""

from pathlib import Path


class DataFileError(ValueError):
    """A data file that cannot be used: which file, where in it, and why."""

    def __init__(self, path: str | Path, where: str, why: str):
        self.path, self.where, self.why = Path(path), where, why
        super().__init__(f"{path}: {where}: {why}" if where else f"{path}: {why}")

    def __reduce__(self) -> tuple[type, tuple[Path, str, str]]:
        return type(self), (self.path, self.where, self.why)
