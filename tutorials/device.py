# %% [markdown]
# # Put a network on a device
#
# A network is trained on a computer and runs on a phone or a microcontroller. This tutorial trains a small
# network, writes it as files for another runtime, quantizes it, and makes a C array of it.
#
# Nothing is downloaded: the images are scikit-learn's handwritten digits. Set `KERAS_BACKEND=tensorflow` to
# see all of it. TensorFlow writes LiteRT, which microcontrollers run; PyTorch and JAX have their own formats.

# %%
# On Colab, remove the first "# " of the next line.
# %pip install "keras_structnets[tensorflow,train,export]"
import pathlib
import tempfile

import keras
import matplotlib.pyplot as plt
import numpy as np

import keras_structnets as ksn

DATASET, EPOCHS = "digits", 8  # small: under a minute
SUFFIX = {"tensorflow": ".tflite", "torch": ".pt2", "jax": ".stablehlo"}[keras.backend.backend()]

keras.utils.set_random_seed(0)
data = ksn.training.load(DATASET)
print(data)

# %% [markdown]
# ## Train
#
# The network takes pixels in 0..255: the preprocessing is a part of it, and goes to the device with it.

# %%
model = ksn.zoo.build(
    "linear_mix_a",
    input_shape=data.x_train.shape[1:],
    num_classes=len(data.class_names),
    widths=(16, 32),
    n_steps=1,
)
model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
model.fit(data.x_train, data.y_train, batch_size=64, epochs=EPOCHS, verbose=0)


def accuracy(outputs):
    return float(np.mean(np.argmax(outputs, axis=-1) == data.y_val))


before = accuracy(model.predict(data.x_val, verbose=0))
print(f"{model.count_params():,} parameters, accuracy {before:.1%}")

# %% [markdown]
# ## What is exported
#
# `simplify` shows what goes into a file: layers of Keras with constant weights. Batch normalization is gone:
# it is in the weights of the convolution before it.

# %%
simple = ksn.inference.simplify(model)
print(len(model.layers), "layers become", len(simple.layers))

# %% [markdown]
# ## Export
#
# The suffix selects the format. `export` runs the file in its own runtime, and compares what it computes with
# the outputs of the model: here on all validation images. `batch_size=1` is for devices that take one image.

# %%
folder = tempfile.TemporaryDirectory()
files = {}
names = {"class_names": "\n".join(map(str, data.class_names))}
files["float32"] = ksn.inference.export(
    model,
    pathlib.Path(folder.name, f"network{SUFFIX}"),
    batch_size=1,
    calibration=data.x_val,
    metadata=names,
)
print(files["float32"])

# %% [markdown]
# ## Quantize
#
# With `precision="int8"` convolutions compute with integers of 8 bits. Training images show which ranges
# the numbers have. TensorFlow alone writes such files, and files with weights in float16.

# %%
if SUFFIX == ".tflite":
    for precision in ("float16", "int8"):
        files[precision] = ksn.inference.export(
            model,
            pathlib.Path(folder.name, f"{precision}.tflite"),
            batch_size=1,
            precision=precision,
            calibration=data.x_train[:256],
        )
        print(files[precision])

figure, axes = plt.subplots(figsize=(5, 1 + 0.5 * len(files)), layout="constrained")
bars = axes.barh(list(files), [file.size / 1024 for file in files.values()])
axes.bar_label(bars, fmt="%.0f", padding=3)
axes.set(xlabel="KB", title=f"size of the {files['float32'].format} files")
plt.show()

# %% [markdown]
# ## Run it
#
# On a phone or a Raspberry Pi, LiteRT is all that is needed: neither Keras nor this library.

# %%
if SUFFIX == ".tflite":
    from ai_edge_litert.interpreter import Interpreter

    def run(path, images):
        interpreter = Interpreter(str(path))
        interpreter.allocate_tensors()
        (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()
        outputs = []
        for image in images:
            interpreter.set_tensor(given["index"], image[None].astype("float32"))
            interpreter.invoke()
            outputs.append(interpreter.get_tensor(found["index"])[0])
        return np.array(outputs)

    after = {name: accuracy(run(file.path, data.x_val)) for name, file in files.items()}
    print({name: f"{share:.1%}" for name, share in after.items()})

# %% [markdown]
# ## An array of C
#
# A microcontroller has no files: its program holds the network as an array. `xxd -i network.tflite` writes
# the same.

# %%
content = files["float32"].path.read_bytes()
array = ", ".join(f"0x{byte:02x}" for byte in content)
code = f"const unsigned char network[{len(content)}] = {{{array}}};"
print(code[:80], "...")

# %% [markdown]
# ## What this tutorial claims, checked

# %%
assert files["float32"].difference < 1e-4
assert files["float32"].agreement == 1
if SUFFIX == ".tflite":
    assert files["float16"].size < files["float32"].size
    assert files["int8"].size < files["float32"].size
    assert after["float32"] == before
    assert abs(after["int8"] - before) < 0.03
folder.cleanup()
print("all claims hold on", keras.backend.backend())
