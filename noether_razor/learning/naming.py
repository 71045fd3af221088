"""Names of symmetries that a person can read, from the paths of the arrays that they move."""

from collections.abc import Sequence


def layer_of(path: str) -> str:
    """The layer that an array belongs to: its path without the last part."""
    return path.rpartition(".")[0] or path


def named_together(layers: Sequence[str]) -> str:
    """ "layers 2 and 3" for layers.2 and layers.3, "parts 2 and 3" for 2 and 3, else the names one by
    one.
    """
    layers = list(dict.fromkeys(layers))
    parts = [layer.rpartition(".") for layer in layers]
    if all(last.isdigit() for _, _, last in parts) and len({p[0] for p in parts}) == 1:
        word = parts[0][0] or "parts"
        if len(layers) == 1:
            return f"{word.removesuffix('s')} {parts[0][2]}"
        return f"{word} {_listed([last for _, _, last in parts])}"
    return _listed(layers)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def family_name(
    kind: str, members: Sequence[tuple[str, tuple[int, ...], float]], *, whole: bool = False
) -> str:
    """The name of a family from the path, the axes and the weight of each member."""
    layers = named_together([layer_of(path) for path, _, _ in members])
    if kind == "translation":
        (path, axes, _), *_ = members
        if whole:
            return f"common shift of all of {path}"
        if axes == (0,):
            return f"common shift of the outputs of {layers} by each input"
        return f"common shift of slices of {path} along {_axes(axes)}"
    if kind == "scale":
        arrays = list(dict.fromkeys(path.rpartition(".")[2] for path, _, _ in members))
        # An array that is a layer of its own has one name.
        of = layers if all("." not in path for path, _, _ in members) else f"{layers} ({_listed(arrays)})"
        if whole:
            return f"scale of all of {of}"
        towards = "inputs to " if all(axes == (0,) for _, axes, _ in members) and _matrix(members) else ""
        return f"scale of {towards}{of}"
    if whole:
        return f"rescaling of all of {layers}"
    ends = list(dict.fromkeys(layer_of(path) for path, _, _ in members))
    word = "rescaling between" if len(ends) > 1 else "rescaling inside"
    return f"{word} {layers}"


def _matrix(members: Sequence[tuple[str, tuple[int, ...], float]]) -> bool:
    return any(path.endswith("kernel") for path, _, _ in members)


def _axes(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {_listed([str(axis) for axis in axes])}"
