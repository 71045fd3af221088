"""The exact evidence of a data file."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...beyond import evidence
from ...exact_evidence import Evidence, EvidenceError
from ...files import write_whole
from ...quantities import HypothesisError
from ..config import ConfigError, read_data
from .discover import discover_config


def evidence_of_file(
    data: Path,
    mapping: Mapping[str, Any],
    quantities: Sequence[str],
    *,
    degree: int | None = None,
    features: Sequence[str] = (),
    space_degree: int = 2,
    out: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[Evidence, tuple[str, ...]]:
    """The evidence of a file for quantities, and what the reader of the file has to say.

    `mapping` are keys of the data table. The numbers are written to `out`, where it is given, as JSON. Raises
    `ConfigError` for formulas and for data that this engine cannot judge, `DataFileError` for the file.
    """
    file = read_data(discover_config(data, mapping))
    made = file.trajectories.canonical
    try:
        found = evidence(
            file.trajectories,
            quantities,
            degree=degree,
            features=features,
            space_degree=space_degree,
            progress=progress,
        )
    except HypothesisError as error:
        raise ConfigError(f"--quantity: {error}") from None
    except EvidenceError as error:
        raise ConfigError(f"{data}: {error}") from None
    if out is not None:
        about = {"file_notes": list(file.notes), "bracket": None if made is None else dict(made.answer)}
        write_whole(out, json.dumps(found.to_json() | about, indent=1) + "\n")
    told = () if made is None else (f"columns: {made.answer['text']}",)
    return found, (*file.notes, *told)
