"""Equal forms of one operation, of which each backend has its fast one.

    KERAS_BACKEND=jax python -m benchmarks.forms

The milliseconds of a training step of SGD, in which the input is a weight too, so that all gradients
are made; the forms take turns in one process. 128 images, of 32x32 pixels with 32 channels and of 8x8
with 128. `keras_structnets/ops/fast_paths.py` chooses by these tables. The fastest of the rounds is
given: other work on the machine disturbs it least. `--table` prints what was found on all three.
"""

import sys

import keras
import numpy as np
from keras import ops

import keras_structnets as ksn
from keras_structnets.ops import fast_paths, order_p
from keras_structnets.ops.winograd import winograd_conv

from . import summary, timing
from .contenders import model_of, stepper

ROUNDS, BATCH = 12, 128
SETTINGS = [(32, 32), (128, 8)]  # channels, height and width


def bordered(form):
    """A 3x3 form on an image with a border of zeros."""
    return lambda x, kernel: form(ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]), kernel)


def filtered(form, channels):
    """A filter of images, or of images and channels, with the spectrum of a stencil."""

    def of(x, kernel):
        spectrum = ksn.ops.circulant_spectrum if channels else ksn.ops.stencil_spectrum
        re, im = spectrum(kernel, x.shape[1:3])
        return form(x, (re * re + im * im, None), (1, 2, 3) if channels else (1, 2))

    return of


def diffused(once):
    """Four explicit steps of diffusion, where each product is as it comes or computed `once`."""
    product = bordered(fast_paths.written_depthwise)

    def of(x, kernel):
        for _ in range(4):
            y = once(product(x, kernel))
            x = x - 0.1 * once(product(y, ops.flip(kernel, (0, 1))))
        return x

    return of


def similarities(p):
    """Forms of the similarity of order p to as many templates as there are channels."""
    return {
        name: lambda x, z, form=form: order_p.similarity(x, z, ops.ones_like(z), p, form)
        for name, form in {
            "loop": order_p.LOOPED,
            "sums written out": order_p.WRITTEN_OUT,
        }.items()
    }


DEPTHWISE = {
    "native": fast_paths.native_depthwise,
    "channels first": fast_paths.transposed_depthwise,
    "shifted": fast_paths.shifted_depthwise,
    "written": fast_paths.written_depthwise,
}
FILTERS = {
    "matrices": fast_paths.filter_by_matrices,
    "matrices, in pieces": fast_paths.filter_in_pieces,
    "FFT": fast_paths.filter_by_fft,
}
MAXIMA = {
    "Keras": ops.max_pool,
    "with the channels first": fast_paths.transposed_max_pool,
    "written": fast_paths.written_max_pool,
}
FORMS = {  # operation: (shape of the kernel for c channels, {form: function of x and the kernel})
    "depthwise": (lambda c: (3, 3, c), {k: bordered(f) for k, f in DEPTHWISE.items()}),
    "four steps of diffusion": (
        lambda c: (3, 3, c),
        {"as it comes": diffused(lambda y: y), "each once": diffused(fast_paths.once)},
    ),
    "convolution 3x3": (
        lambda c: (3, 3, c, c),
        {
            "Keras": lambda x, kernel: ops.conv(x, kernel, padding="same"),
            "channels first": lambda x, kernel: fast_paths.transposed_conv(x, kernel, 1, "same", 1),
            "patches": lambda x, kernel: fast_paths.product_of_patches(x, kernel, (1, 1), "same"),
            "fewer products": lambda x, kernel: winograd_conv(x, kernel, "same"),
        },
    ),
    "product at each pixel": (
        lambda c: (c, c),
        {
            "Keras matmul": ops.matmul,
            "rows": fast_paths.product_of_rows,
            "Keras conv": lambda x, matrix: ops.conv(x, matrix[None, None]),
            "conv, channels first": fast_paths.transposed_pointwise,
        },
    ),
    "filter of each channel": (
        lambda c: (3, 3, c),
        {k: filtered(f, channels=False) for k, f in FILTERS.items()},
    ),
    "filter over the channels too": (
        lambda c: (3, 3, c),
        {k: filtered(f, channels=True) for k, f in FILTERS.items()},
    ),
    "mean over 2x2": (
        lambda c: (c,),
        {
            "Keras": lambda x, scale: ops.average_pool(x * scale, (2, 2), (2, 2)),
            "with the channels first": lambda x, scale: fast_paths.transposed_average_pool(
                x * scale, (2, 2), (2, 2)
            ),
        },
    ),
    "maximum over 3x3": (
        lambda c: (c,),
        {
            name: lambda x, scale, form=form: form(x * scale, (3, 3), (2, 2), "same")
            for name, form in MAXIMA.items()
        },
    ),
    "similarity of order 1": (lambda c: (c, c), similarities(1.0)),
    "similarity of order 1.5": (lambda c: (c, c), similarities(1.5)),
}
ON_JAX = {"as it comes", "each once", "matrices, in pieces"}
FIRST = {"channels first", "conv, channels first", "with the channels first"}
NOT_ON = {  # what Keras or the CPU does not offer there
    "tensorflow": FIRST | ON_JAX | {"FFT", "written"},
    "jax": {"with the channels first"},
    "torch": ON_JAX | {"written", "sums written out"},
}


class Form(keras.layers.Layer):
    """A form with its kernel."""

    def __init__(self, form, kernel_shape):
        super().__init__()
        self.form, self.kernel_shape = form, kernel_shape

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=self.kernel_shape(input_shape[-1]), name="kernel")

    def call(self, x):
        return self.form(x, ops.convert_to_tensor(self.kernel))


def main():
    ksn.training.keep_memory()
    found = {"batch": BATCH, "rounds": ROUNDS}
    left_out = NOT_ON.get(keras.backend.backend(), ())
    for operation, (kernel_shape, forms) in FORMS.items():
        for channels, size in SETTINGS:
            shape = (BATCH, size, size, channels)
            dummy = np.zeros((BATCH, 1), "float32")
            steps = {
                name: stepper(model_of(Form(form, kernel_shape), shape, held=True), dummy, True)
                for name, form in forms.items()
                if name not in left_out
            }
            if not steps:
                continue
            times = timing.alternate(steps, ROUNDS)
            best = {name: float(f"{min(values):.3g}") for name, values in times.items()}
            key = f"{operation}, {channels} channels, {size}x{size}"
            found[key] = best
            print(key, best, flush=True)
    print(timing.save("forms", found))


def table():
    """What the files of results hold, in the lines that ops/fast_paths.py shows."""
    found = summary.read(timing.RESULTS, "forms")
    lines = [f"| form | {' | '.join(found)} |", "|---|---|---|---|"]
    for operation, (_, forms) in FORMS.items():
        keys = [f"{operation}, {channels} channels, {size}x{size}" for channels, size in SETTINGS]
        for form in forms:
            cells = (
                " and ".join(f"{of[key][form]:g}" for key in keys)
                if form in of.get(keys[0], ())
                else "-"
                for of in found.values()
            )
            lines.append(f"| {operation}: {form} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if "--table" in sys.argv:
        print(table())
    else:
        main()
