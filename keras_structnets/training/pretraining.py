"""Models with their initial weights, pre-trained on images where the recipe says so."""

import pathlib

import keras

import keras_structnets
from keras_structnets.signatures import Path
from keras_structnets.training import _io, finetune, report
from keras_structnets.training._io import require
from keras_structnets.training.augment import center_crop
from keras_structnets.training.datasets import images_of
from keras_structnets.training.recipe import Recipe


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
    """
    folder = report.default_folder(recipe)
    out = pathlib.Path(out or folder.with_name(f"{folder.name}_pretrained"))
    require("matplotlib.figure")
    _io.refuse_earlier_run(out, overwrite)
    data = images_of(recipe)
    model = build_model(recipe, data, recipe.crop_size or data.x_train.shape[1:-1])
    found = pretrain_from(model, recipe, data, verbose)
    _io.make_folder(out)
    _io.write_model(out / f"{out.resolve().name}.keras", model)
    _io.write(out / "pretraining.txt", f"{found}\n")
    _io.write_by(out / "pretraining.png", lambda file: found.plot().savefig(file, dpi=120))
    if verbose:
        print(f"wrote {out}/")
    return found


def build_model(recipe, data, size):
    """The recipe's model for images of `size`, with its initial weights."""
    keras.utils.set_random_seed(recipe.seed)
    shape = (*size, data.x_val.shape[-1])
    return finetune.build(recipe, input_shape=shape, num_classes=len(data.class_names))


def pretrain_from(model, recipe, data, verbose):
    """Pre-train the model on the training images, and return the report."""
    require("sklearn")
    templates = {"whitening": "keep", "none": "mixture"}.get(recipe.pretrain, recipe.pretrain)
    images = center_crop(data.x_train, model.input_shape[1:-1])
    found = keras_structnets.pretraining.pretrain(
        model,
        images,
        seed=recipe.seed,
        templates=templates,
        temperature=recipe.pretrain_temperature,
        offset_spread=recipe.pretrain_offset_spread,
        reg=recipe.pretrain_reg,
        verbose=verbose,
    )
    if verbose:
        print(found)
    return found
