"""A queue of recipes: each is trained into its own folder, and what was interrupted is resumed."""

import contextlib
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import keras

from keras_structnets.signatures import Path
from keras_structnets.training.finetune import fitted_to_weights
from keras_structnets.training.recipe import Recipe
from keras_structnets.training.report import default_folder
from keras_structnets.training.trainer import resume, train

ERRORS = (ValueError, ImportError, OSError, RuntimeError)  # of a run; others end the queue


def train_queue(
    recipes: Sequence[Path], *, tensorboard: bool = False, verbose: int = 1
) -> list[pathlib.Path]:
    """Train recipes one after another, each into its own folder.

    The folder is `run_folder`. A run that has ended is skipped, and one that was interrupted is
    resumed. The error of a run is printed, and the next recipe follows.

    Args:
        recipes: paths of recipes.
        tensorboard: see `train`.
        verbose: see `train`.

    Returns:
        The recipes that failed.

    Raises:
        ValueError: if two recipes have the same folder.
    """
    failed: list[pathlib.Path] = []
    folders: dict[pathlib.Path, pathlib.Path] = {}
    for path in map(pathlib.Path, recipes):
        with _noted(path, failed):
            folder = run_folder(path)
            first = folders.setdefault(folder, path)
        if path not in failed and first is not path:
            raise ValueError(
                f"train: {str(first)!r} and {str(path)!r} have the same folder {str(folder)!r}. "
                "Rename one of the files."
            )
    for folder, path in folders.items():
        keras.utils.clear_session()  # frees the memory of the run before
        with _noted(path, failed):
            recipe = Recipe.read(path)
            train_or_resume(recipe, folder, tensorboard=tensorboard, verbose=verbose)
    return failed


def run_folder(path: Path) -> pathlib.Path:
    """`runs/<name of the recipe's file>`, or `runs/<model>_<dataset>` for a file named `recipe.toml`."""
    path = pathlib.Path(path)
    if path.name == "recipe.toml":
        return default_folder(Recipe.read(path))
    return pathlib.Path("runs", path.stem)


def train_or_resume(
    recipe: Recipe, folder: pathlib.Path, *, tensorboard: bool = False, verbose: int = 1
) -> dict[str, Any]:
    """Train into `folder`, or resume the run of this recipe that is there; what is in `results.json`."""
    recipe = fitted_to_weights(recipe)
    if not (folder / "recipe.toml").is_file():
        return train(recipe, folder, tensorboard=tensorboard, verbose=verbose)
    changed = recipe.difference(Recipe.read(folder / "recipe.toml"))
    if changed:
        raise ValueError(
            f"train: the run in {str(folder)!r} has another `{changed[0]}` than the recipe. Undo the "
            "change, or use another folder for a new run."
        )
    return resume(folder, tensorboard=tensorboard, verbose=verbose)


@contextlib.contextmanager
def _noted(path, failed):
    """Print an error, and note the path of its recipe."""
    try:
        yield
    except ERRORS as error:
        print(f"structnets: {path}: {' '.join(str(error).split())}", file=sys.stderr)
        failed.append(path)
