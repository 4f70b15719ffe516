"""Figure 1 of the low-cost paper: how many times faster its layers are than a full convolution.

    structnets bench figure1 [--backend jax|torch|tensorflow] [--device DEVICE] [--batch-size 64]

Forward, over the size of the image, the size of the stencil and the number of channels. The other two are
as in the paper: images of 64x64, 256 channels, stencils of 3x3. The paper's batches have 64 images; the
default is 2, which a CPU does in a reasonable time.
"""

import functools

import keras
import numpy as np

import keras_structnets as ksn

from . import timing
from .baselines import fully_coupled, model_of, stepper

SIZE, STENCIL, CHANNELS = 64, 3, 256
VARIED = {
    "size of the image": ("size", (16, 32, 64, 128)),
    "size of the stencil": ("stencil", (3, 5, 7)),
    "channels": ("channels", (32, 64, 128, 256, 512)),
}
LAYERS = {
    "depthwise": ksn.layers.StencilConv2D,
    "depthwise, FFT": functools.partial(ksn.layers.StencilConv2D, padding="periodic", method="fft"),
    "explicit": ksn.layers.ExplicitDiffusion2D,
    "implicit": ksn.layers.ImplicitDiffusion2D,
    "circulant": ksn.layers.CirculantDiffusion2D,
}


def main(pattern="", rounds=5, batch_size=2):
    """Measure all points whose panel contains `pattern`; the result as it is saved."""
    found = {"rounds": rounds, "batch size": batch_size}
    for panel, (varied, values) in VARIED.items():
        if pattern.lower() in panel:
            for value in values:
                for name, ratio in point(batch_size, rounds, **{varied: value}).items():
                    found.setdefault(f"times faster by {panel}: {name}", {})[str(value)] = ratio
                    print(f"{panel} {value}, {name}: {ratio} times faster", flush=True)
    return found


def point(batch_size, rounds, size=SIZE, stencil=STENCIL, channels=CHANNELS):
    """{layer: time of the fully coupled convolution over its own}."""
    shape = (batch_size, size, size, channels)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layers = {name: layer(stencil) for name, layer in LAYERS.items()}
    layers["coupled"] = fully_coupled(channels, stencil)
    steps = {
        name: stepper(model_of(layer, shape, held=False), x, training=False)
        for name, layer in layers.items()
    }
    times = timing.alternate(steps, rounds, warm_up=2)
    keras.utils.clear_session(free_memory=False)
    return {name: timing.times_faster(times, name, "coupled")[1] for name in LAYERS}
