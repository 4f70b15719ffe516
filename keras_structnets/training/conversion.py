"""Conversion of a saved model, on the images of a data set."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from keras_structnets import conversion
from keras_structnets.signatures import Path
from keras_structnets.training import _io
from keras_structnets.training.datasets import load
from keras_structnets.training.evaluate import split_of
from keras_structnets.training.saved import class_names, file_of, load_model


def convert_and_save(
    model: Path,
    to: str = "linear_mix",
    dataset: Path | None = None,
    out: Path | None = None,
    *,
    n_images: int = 512,
    overwrite: bool = False,
    verbose: int = 1,
    **options: Any,
) -> conversion.Report:
    """Convert a saved model and write the new one, with a report.

    The folder `out` gets `<name>.keras`, and the report as `conversion.txt` and `conversion.json`.

    Args:
        model: a run's folder, the name or folder of a record, or a `.keras` file.
        to: the conversion, as of `keras_structnets.convert`.
        dataset: what `load` takes, for images to fit the weights to; None projects the weights.
        out: the folder; None for `runs/<model>_<to>`.
        n_images: how many training images, drawn at random.
        overwrite: whether files in the folder may be replaced.
        verbose: 1 prints the report, 0 nothing.
        **options: of `keras_structnets.convert`.

    Returns:
        The `Report` of `keras_structnets.convert`.

    Raises:
        ValueError: for what is not a model, images that do not fit it, or files in the folder.

    Example:
        >>> from keras_structnets.training.conversion import convert_and_save
        >>> ksn.zoo.build("resnet_a", input_shape=(8, 8, 1), widths=(8,), n_steps=1).save("old.keras")
        >>> report = convert_and_save("old.keras", dataset="digits", out="runs/new", n_images=32, verbose=0)
        >>> [layer.after for layer in report.layers]
        ['LinearMixConv2D', 'LinearMixConv2D']
    """
    network = load_model(model)
    name = pathlib.Path(model).resolve().name.removesuffix(".keras")
    out = pathlib.Path(out or pathlib.Path("runs") / f"{name}_{to}")
    target = out / f"{out.resolve().name}.keras"
    if target.exists() and not overwrite:
        raise ValueError(
            f"convert: {str(target)!r} exists. Choose another folder with --out, or give --overwrite."
        )
    images = (
        None if dataset is None else training_images(dataset, network, n_images, split_of(model))
    )
    converted, report = conversion.convert(network, to, images=images, **options)
    _io.make_folder(out)
    _io.write_model(target, converted, class_names(file_of(model)))
    _io.write(out / "conversion.txt", f"{report}\n")
    _io.write(out / "conversion.json", json.dumps(dataclasses.asdict(report), indent=1) + "\n")
    if verbose:
        print(f"{report}\nwrote {out}/")
    return report


def training_images(dataset, network, n_images, split):
    """Training images of a data set in the size of `network`, drawn at random."""
    height, width, channels = network.input_shape[1:]
    images = load(dataset, image_size=(height, width), channels=channels, **split).x_train
    drawn = np.random.default_rng(0).permutation(len(images))[:n_images]
    return images[np.sort(drawn)]
