"""Where the bundle and the presets lie: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path

from ..common.errors import InputError

logger = logging.getLogger(__name__)


RECIPES = "recipes"  # the folder of those presets that follow others' papers
_PACKAGE = Path(__file__).resolve().parents[1]


def bundle_root() -> str:
    """Return the folder of the MONAI bundle, which contains ``configs/train.yaml``."""
    return str(_first_folder(_PACKAGE / "bundle", _PACKAGE.parent / "bundles" / "ncct_cta"))


def presets_root() -> str:
    """The folder of the presets."""
    return str(_first_folder(_PACKAGE / "presets", _PACKAGE.parent / "configs"))


def bundle_config(name: str) -> str:
    """A file of the bundle's ``configs`` folder."""
    return str(Path(bundle_root()) / "configs" / name)


def find_config(path: str) -> str:
    """Find a settings file: a path, a shipped file by its name, or the ``config.yaml`` of a run's folder.

    A shipped one is ``g``, ``g.yaml``, ``configs/g.yaml``, ``recipes/pix2pix``, ``configs/recipes/pix2pix.yaml`` or
    ``bundles/ncct_cta/configs/train.yaml``, from any folder.
    No other path falls back to a shipped file: a mistyped path would train something else.

    Raises:
        InputError: if there is none.
    """
    given = Path(path)
    name = given.name if given.suffix in (".yaml", ".yml", ".json") else f"{given.name}.yaml"
    bundled = Path(bundle_config(name))
    presets_first = (Path(presets_root()) / name, bundled)
    recipe = (Path(presets_root()) / RECIPES / name,)
    folders = {"": presets_first, "configs": presets_first, "bundles/ncct_cta/configs": (bundled,)}
    folders |= {RECIPES: recipe, f"configs/{RECIPES}": recipe}
    # os.path keeps what Path drops: `./g` and `g/` aren't bare names.
    shipped = folders.get(os.path.dirname(path), ())
    for candidate in (given, *shipped, given / "config.yaml"):
        if candidate.is_file():
            return str(candidate)
    raise InputError(
        f"there is no settings file {path}; give a YAML file, the folder of a run or one of the presets "
        + ", ".join(presets())
    )


def presets() -> dict[str, str]:
    """The presets by name, in its order and recipes last, each with what its comment says below its launch command."""
    described = {}
    root = Path(presets_root())
    for path in (*sorted(root.glob("*.yaml")), *sorted(root.glob(f"{RECIPES}/*.yaml"))):
        lines = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
        name = path.relative_to(root).with_suffix("").as_posix()
        described[name] = " ".join(line.lstrip("# ") for line in lines if not line.startswith("# python"))
    return described


def _first_folder(*candidates: Path) -> Path:
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise InputError(
        f"neither {' nor '.join(map(str, candidates))} is there; the installation is incomplete: reinstall ncct-cta"
    )
