"""How long the pre-training of simnet_2layer takes over a folder of images, and the memory it needs.

    KERAS_BACKEND=tensorflow python -m benchmarks.pretraining_sweep FOLDER

FOLDER holds one sub-folder of images per class; all of them are swept. Writes
benchmarks/results/pretraining_sweep_<backend>.json. The peak is that of the whole process, images
and backend included. Beside it stands how far the covariance of whitened patches is from the
identity, on patches of images that were not swept (the last 500 of each class are left out there).
"""

import argparse
import time

import keras
import numpy as np

import keras_structnets as ksn
from benchmarks import timing

LIMITS = {"seconds": 120, "peak GiB": 3}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    data = ksn.training.load(parser.parse_args().folder, holdout_last_per_class=500)
    images = np.concatenate([data.x_train, data.x_val])
    result = {"images": len(images), "limits": LIMITS}
    for templates in ("keep", "mixture"):
        keras.utils.set_random_seed(0)
        model = ksn.zoo.build("simnet_2layer", input_shape=images.shape[1:])
        start = time.perf_counter()
        report = ksn.pretraining.pretrain(model, images, templates=templates, seed=0, verbose=0)
        print(report)
        result[f"templates={templates!r}"] = {
            "seconds": round(time.perf_counter() - start, 1),
            "patches": [row.n_patches for row in report.layers],
            "log-likelihood": [row.log_likelihoods[-1:] for row in report.layers],
        }
    result["peak GiB"] = timing.peak_memory()
    result["held-out covariance"] = covariance_errors(data)
    timing.save("pretraining_sweep", result)


def covariance_errors(data):
    """Largest entry of |covariance - identity| by number of patches, on held-out images."""
    errors = {}
    for n_patches in (30_000, 300_000):
        keras.utils.set_random_seed(0)
        model = ksn.zoo.build("simnet_2layer", input_shape=data.x_train.shape[1:])
        pretrain = ksn.pretraining.pretrain
        report = pretrain(
            model, data.x_train, templates="keep", n_patches=n_patches, seed=0, verbose=0
        )
        first = model.get_layer(f"{report.layers[0].name}_whitening")
        whitened = keras.Model(model.input, first.output).predict(data.x_val, verbose=0)
        y = whitened.reshape(-1, whitened.shape[-1]).astype("float64")
        errors[f"{n_patches} patches"] = round(
            float(np.abs(np.cov(y.T) - np.eye(y.shape[1])).max()), 4
        )
    return errors


if __name__ == "__main__":
    main()
