"""Pre-training of a SimNet as a run of its own."""

import pathlib

import keras_structnets
from keras_structnets.signatures import Path
from keras_structnets.training import _io
from keras_structnets.training._io import require
from keras_structnets.training.datasets import images_of
from keras_structnets.training.recipe import Recipe
from keras_structnets.training.trainer import (
    build_model,
    default_folder,
    pretrain_from,
    refuse_earlier_run,
)


def pretrain_and_save(
    recipe: Recipe, out: Path | None = None, *, overwrite: bool = False, verbose: int = 1
) -> "keras_structnets.pretraining.Report":
    """Pre-train the recipe's model on the training images, without their labels.

    The folder `out` gets `<name>.keras`, the report as `pretraining.txt` and `pretraining.png`.

    Args:
        recipe: a `Recipe`; its keys for training are ignored. With `pretrain` "none" all layers are
            pre-trained, as with "mixture".
        out: the folder; None for `runs/<model>_<dataset>_pretrained`.
        overwrite: whether an earlier run in the folder may be replaced.
        verbose: 1 shows a progress bar, 0 nothing.

    Returns:
        The `Report` of `keras_structnets.pretraining.pretrain`.

    Raises:
        ValueError: if the folder holds an earlier run, or the model has nothing to pre-train.
        ImportError: if the extra `train` is not installed.

    Example:
        >>> recipe = ksn.training.Recipe("simnet_1layer_l2", sizes={"templates": 4})
        >>> from keras_structnets.training.pretraining import pretrain_and_save
        >>> report = pretrain_and_save(recipe, "runs/started", verbose=0)
        >>> report.layers[0].dimension  # of the whitened patches: 5x5 pixels
        25
        >>> model = keras.saving.load_model("runs/started/started.keras")
    """
    folder = default_folder(recipe)
    out = pathlib.Path(out or folder.with_name(f"{folder.name}_pretrained"))
    require("matplotlib.figure")
    refuse_earlier_run(out, overwrite)
    data = images_of(recipe)
    model = build_model(recipe, data, recipe.crop_size or data.x_train.shape[1:3])
    report = pretrain_from(model, recipe, data, verbose)
    _io.make_folder(out)
    _io.write_model(out / f"{out.resolve().name}.keras", model)
    _io.write(out / "pretraining.txt", f"{report}\n")
    _io.write_by(out / "pretraining.png", lambda file: report.plot().savefig(file, dpi=120))
    return report
