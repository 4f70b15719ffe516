# %% [markdown]
# # Put a network on a device
#
# You train a network on a computer, and run it on a phone or a microcontroller. This tutorial trains a small
# network, exports it to other runtimes, quantizes it, and writes it as a C array.
#
# The images are scikit-learn's handwritten digits, so nothing is downloaded. Set `KERAS_BACKEND=tensorflow`
# to run all parts: TensorFlow writes LiteRT files, which microcontrollers run. PyTorch and JAX write other
# formats.

# %%
# On Colab, remove the first "# " of the next line.
# %pip install "keras_structnets[tensorflow,train,export]"
import pathlib
import tempfile

import keras_structnets as ksn  # before Keras: it selects a backend that is installed
import keras
import matplotlib.pyplot as plt
import numpy as np

DATASET, EPOCHS = "digits", 8  # small: for a short run
SUFFIX = {"tensorflow": ".tflite", "torch": ".pt2", "jax": ".stablehlo"}[keras.backend.backend()]

keras.utils.set_random_seed(0)
data = ksn.training.load(DATASET)
print(data)

# %% [markdown]
# ## Train
#
# The input of the network is pixels from 0 to 255. The preprocessing is a part of the network, on the device
# too.

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
# ## The inference form
#
# `simplify` returns the model that `export` writes: it consists of Keras layers with constant weights. Batch
# normalization is folded into the weights of the convolution before it.

# %%
simple = ksn.inference.simplify(model)
print(len(model.layers), "layers become", len(simple.layers))

# %% [markdown]
# ## Export
#
# The suffix selects the format. `export` runs the file in its own runtime and compares its outputs with those
# of the model, here on all validation images. Use `batch_size=1` for devices that classify one image at a
# time.

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
# With `precision="int8"` convolutions compute with 8-bit integers. The ranges of these integers come from
# training images. Only TensorFlow writes int8 files, and files with weights in float16.

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
# ## Run the file
#
# On a phone or a Raspberry Pi you need LiteRT only, without Keras and without this library.

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
# ## A C array
#
# A microcontroller has no file system, so its program holds the network as an array. `xxd -i network.tflite`
# writes the same array.

# %%
content = files["float32"].path.read_bytes()
array = ", ".join(f"0x{byte:02x}" for byte in content)
code = f"const unsigned char network[{len(content)}] = {{{array}}};"
print(code[:80], "...")

# %% [markdown]
# ## Checks of this tutorial's claims

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
