"""A queue of recipes: each is trained into its own folder, and what was interrupted is resumed."""

import pathlib
import sys
from collections.abc import Sequence

import keras

from keras_structnets.signatures import Path
from keras_structnets.training.finetune import fitted_to_weights
from keras_structnets.training.recipe import Recipe
from keras_structnets.training.trainer import default_folder, resume, train

ERRORS = (ValueError, ImportError, OSError, RuntimeError)  # of a run; others end the queue


def train_queue(
    recipes: Sequence[Path],
    out: Path | None = None,
    *,
    tensorboard: bool = False,
    verbose: int = 1,
) -> list[pathlib.Path]:
    """Train recipes one after another, each into its own folder.

    The folder is `out/<name of the recipe's file>`. A file named `recipe.toml` uses the default folder
    `<model>_<dataset>` instead. A run that has ended is skipped, and one that was interrupted is
    resumed. The error of a run is printed, and the next recipe follows.

    Args:
        recipes: paths of recipes.
        out: the folder of all runs; None for `runs`.
        tensorboard: see `train`.
        verbose: see `train`.

    Returns:
        The recipes that failed.

    Raises:
        ValueError: if two recipes have the same folder.

    Example:
        >>> ksn.training.Recipe("convnet_1layer", epochs=1, batch_size=719).write("first.toml")
        >>> from keras_structnets.training.queue import train_queue
        >>> train_queue(["first.toml"], verbose=0)
        []
        >>> ksn.training.resume("runs/first")["parameters"]
        runs/first: this run has ended; nothing is left to do
        3310
    """
    paths, out = [pathlib.Path(path) for path in recipes], pathlib.Path(out or "runs")
    failed: list[pathlib.Path] = []
    folders: dict[pathlib.Path, pathlib.Path] = {}
    for path in paths:
        try:
            folder = out / _name(path)
        except ERRORS as error:
            _print_error(path, error)
            failed.append(path)
            continue
        if folder in folders:
            raise ValueError(
                f"train: {str(folders[folder])!r} and {str(path)!r} have the same folder "
                f"{str(folder)!r}. Rename one of the files."
            )
        folders[folder] = path
    for folder, path in folders.items():
        keras.utils.clear_session()  # frees the memory of the run before
        try:
            _train_or_resume(path, folder, tensorboard, verbose)
        except ERRORS as error:
            _print_error(path, error)
            failed.append(path)
    return failed


def _name(path):
    return default_folder(Recipe.read(path)).name if path.name == "recipe.toml" else path.stem


def _train_or_resume(path, folder, tensorboard, verbose):
    recipe = fitted_to_weights(Recipe.read(path))
    if not (folder / "recipe.toml").is_file():
        train(recipe, folder, tensorboard=tensorboard, verbose=verbose)
        return
    changed = recipe.difference(Recipe.read(folder / "recipe.toml"))
    if changed:
        raise ValueError(
            f"train: the run in {str(folder)!r} has another `{changed[0]}` than {str(path)!r}. Undo "
            "the change, or rename the file for a new run."
        )
    resume(folder, tensorboard=tensorboard, verbose=verbose)


def _print_error(path, error):
    print(f"structnets: {path}: {' '.join(str(error).split())}", file=sys.stderr)
