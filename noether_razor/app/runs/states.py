"""`discover` of columns that are no pairs of positions and momenta, in a run folder."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...bracket import bracket_of_states, no_bracket
from ...discovery import RunFolder
from ...files import write_whole
from ...invariants import laws_of_states
from ...reporting import states_html, states_text
from ...trajectories import read_data_file
from ..config import Config, ConfigError, file_layout
from .configured import keep_inputs
from .listening import SILENT, Listener
from .run import refuse_other_run


def has_states(config: Config) -> bool:
    """Whether the columns of the configuration's file are no pairs."""
    return bool(file_layout(config).states)


def states_run(
    config: Config,
    folder: RunFolder,
    *,
    resume: bool = False,
    listener: Listener = SILENT,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """The bracket of the columns, its Casimir and the energy: see `bracket_of_states`; and what the rows
    alone say is conserved: see `laws_of_states`.

    Writes the data, symmetry.json, report.md and report.html into `folder`, and returns what is in
    symmetry.json. `tell` is told what is being fitted. Raises `ConfigError`, `DataFileError`, and `RunError`
    where the folder holds a run.
    """
    refuse_other_run(config, folder, resume)
    assert config.data.file is not None
    data = read_data_file(config.data.file, file_layout(config), progress=listener.reading)
    try:
        laws = laws_of_states(data.trajectories).to_json()
    except (ValueError, np.linalg.LinAlgError) as error:
        laws, failed = None, (f"what is conserved without a bracket cannot be told: {error}",)
    else:
        failed = ()
    try:
        found = bracket_of_states(data.trajectories, progress=tell).to_json()
    except ValueError as error:
        if laws is None:
            raise ConfigError(f"data.columns.states: {error}") from None
        found = no_bracket(data.trajectories.names, str(error))
    if laws is not None and not found["bracket"]["adequate"]:
        found |= {key: laws[key] for key in ("rank", "independent")}
        found["quantities"] = [one | {"role": "law"} for one in laws["quantities"]]
    symmetry = found | {"laws": laws, "notes": [*data.notes, *failed]}
    keep_inputs(config, folder, data)
    folder.write_symmetry(symmetry)
    title = folder.path.resolve().name
    write_whole(folder.report, f"# {title}\n\n```\n{states_text(symmetry)}```\n")
    write_whole(folder.page, states_html(symmetry, title))
    return symmetry
