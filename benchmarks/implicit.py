"""One implicit step against an FFT written in the backend's own functions.

    KERAS_BACKEND=jax python -m benchmarks.implicit

Times `ops.implicit_diffusion` of 8 images with 32 channels, the FFT with a filter computed beforehand,
and the products with DFT matrices, in one process and in alternation; the best round counts. Writes
benchmarks/results/implicit_<backend>.json with the times and ours over that of the FFT.
"""

from unittest import mock

import keras
import numpy as np

import keras_structnets as ksn
from keras_structnets.ops import kernels

from . import timing

SIZES = (32, 64, 128, 256)
IMAGES, CHANNELS = 8, 32


def main(rounds=15):
    """Measure all sizes and write the file."""
    rows = {size: measure(size, rounds) for size in SIZES}
    timing.save("implicit", {f"{size} pixels": row for size, row in rows.items()})


def measure(size, rounds):
    """{what: milliseconds} at one size, and ours over that of the FFT."""
    rng = np.random.default_rng(0)
    x, kernel = (
        keras.ops.convert_to_tensor(rng.normal(size=shape).astype("float32"))
        for shape in ((IMAGES, size, size, CHANNELS), (3, 3, CHANNELS))
    )
    functions = {
        "ours": lambda x: ksn.ops.implicit_diffusion(x, kernel, 1.0),
        "fft": fft(filter_of(kernel, size)),
        "matrices": with_matrices(lambda x: ksn.ops.implicit_diffusion(x, kernel, 1.0)),
    }
    compiled = kernels.select("compiled") or (lambda f: f)
    steps = {name: waiting(compiled(f), x) for name, f in functions.items()}
    results = [step() for step in steps.values()]
    assert all(np.allclose(results[0], y, atol=1e-4) for y in results)
    times = timing.alternate(steps, rounds)
    row = {f"{name}_ms": round(min(found), 2) for name, found in times.items()}
    row["ratio"] = round(min(times["ours"]) / min(times["fft"]), 2)
    print(size, row, flush=True)
    return row


def waiting(f, x):
    """A function that computes `f(x)` and waits for its end."""
    return lambda: keras.ops.convert_to_numpy(f(x))


def with_matrices(f):
    """`f` without the kernels of a backend, and so by DFT matrices."""
    return mock.patch.dict(kernels.BACKENDS, spectral_filter=())(f)


def filter_of(kernel, size):
    """1 / (1 + h |K|^2) for h = 1, at the frequencies of a real image: [size, size // 2 + 1, c]."""
    kernel = keras.ops.convert_to_numpy(kernel)
    spectrum = np.fft.rfftn(kernel, (size, size), (0, 1))
    return (1 / (1 + np.abs(spectrum) ** 2)).astype("float32")


def fft(response):
    """The filter by the real FFT of the backend."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        filters = tf.constant(np.moveaxis(response, -1, 0).astype("complex64"))
        size = (response.shape[0],) * 2

        def step(x):
            spectrum = tf.signal.rfft2d(tf.transpose(x, (0, 3, 1, 2)))
            return tf.transpose(tf.signal.irfft2d(filters * spectrum, size), (0, 2, 3, 1))

        return step
    if backend == "torch":
        import torch as library
    else:
        import jax.numpy as library
    filters, size = keras.ops.convert_to_tensor(response), (response.shape[0],) * 2
    rfft, irfft = library.fft.rfft2, library.fft.irfft2
    if backend == "torch":
        return lambda x: irfft(filters * rfft(x, dim=(1, 2)), size, dim=(1, 2))
    return lambda x: irfft(filters * rfft(x, axes=(1, 2)), size, axes=(1, 2))


if __name__ == "__main__":
    main()
