"""Every architecture of the papers as a file of every format: how far its outputs are from the model's.

    KERAS_BACKEND=tensorflow python -m benchmarks.architectures [--only TEXT]

Weights are random. SimNets are written with each beta of BETAS in all their MEX layers. Each file is run on
batches of 1 and 8 images with pixels in 0..255, or on one image where the format fixes the batch. It writes
benchmarks/results/architectures_<backend>.json and architectures.md, and keeps the rows of other networks and
the columns of exporters that are not installed: litert-torch asks for other versions than the rest.
"""

import argparse
import contextlib
import importlib
import json
import os
import pathlib
import tempfile

import keras
import numpy as np

import keras_structnets as ksn
from keras_structnets.inference.export import TOLERANCE, relative_difference
from keras_structnets.inference.formats import FORMATS, missing

from . import timing
from .speed import BACKENDS

BETAS = 0.0, 1e-4, 0.3, 60.0, np.inf
PAPERS = "GConvNets", "Low-cost parameterizations", "Deep SimNets"
REFUSED_BY_MICRO = {"IF", "WHILE"}  # and operations of TensorFlow, which begin with "Flex"


def networks():
    """The smallest network of each family, and all SimNets and their ConvNets."""
    names = [name for name in ksn.zoo.list_models() if ksn.zoo.info(name).paper in PAPERS]
    return [name for name in names if not name.endswith(("_b", "_c"))]


def randomized(name):
    """A network of the zoo, all of whose weights are random."""
    model = ksn.zoo.build(name, classifier_activation=None)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight)
        weight.assign(value + np.abs(rng.normal(0, 0.05, value.shape)).astype(value.dtype))
    return model


def betas_of(model):
    """The variables beta of its MEX layers."""
    return [layer.beta for layer in model.layers if getattr(layer, "trainable_beta", False)]


def measure(model, suffix):
    """The largest relative difference of the file's outputs from the model's, or what export said."""
    kind = FORMATS[suffix]
    fixed = 1 if keras.backend.backend() in kind.fixed else None
    x = np.random.default_rng(1).uniform(0, 255, (8, *model.input_shape[1:])).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, f"model{suffix}")
        try:
            ksn.inference.export(model, path, batch_size=fixed)
        except ValueError as error:
            return str(error).removeprefix("export: ")
        refused = control_flow(path) if suffix == ".tflite" else ()
        if refused:
            return f"holds {', '.join(refused)}"
        run, differences = kind.load(path), []
        for count in (1,) if fixed else (1, 8):
            expected = keras.ops.convert_to_numpy(model(x[:count]))
            differences.append(relative_difference(run(x[:count]), expected))
    worst = max(differences)
    if worst > TOLERANCE:
        return f"the outputs of the file differ by {worst:.1g}"
    return float(f"{worst:.2g}")


def control_flow(path):
    """The operations of a LiteRT file that LiteRT Micro does not have."""
    interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(str(path))
    names = {detail["op_name"] for detail in interpreter._get_ops_details()}
    return sorted(n for n in names if n in REFUSED_BY_MICRO or n.startswith("Flex"))


def rows_of(name):
    """{format: the largest difference of all betas, or the first thing that export said}."""
    model, found, backend = randomized(name), {}, keras.backend.backend()
    variables = betas_of(model)
    for suffix, kind in FORMATS.items():
        if backend not in kind.packages or missing(kind.packages[backend]):
            continue
        results = []
        for beta in BETAS if variables else (None,):
            for variable in variables:
                variable.assign(np.float32(beta))
            results.append(measure(model, suffix))
        said = [result for result in results if isinstance(result, str)]
        found[kind.title] = said[0] if said else max(results)
    return found


def table(found):
    """{backend: {network: {format: result}}} as a table: a row for each network."""
    columns = [(b, kind) for b in found for kind in next(iter(found[b].values()))]
    backends = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}
    heads = ["network", *(f"{kind} ({backends[b]})" for b, kind in columns)]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * len(columns)]
    for name in sorted({name for rows in found.values() for name in rows}):
        results = [found[b].get(name, {}).get(kind, "") for b, kind in columns]
        cells = [r and "no" if isinstance(r, str) else f"{r:.0e}" for r in results]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    """Measure the networks, and write both files after each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="networks whose names contain this")
    given = parser.parse_args()
    path = timing.RESULTS / f"architectures_{keras.backend.backend()}.json"
    found = json.loads(path.read_text(encoding="utf-8"))["networks"] if path.is_file() else {}
    for name in networks():
        if given.only not in name:
            continue
        with open(os.devnull, "w") as null, contextlib.redirect_stderr(null):  # logs of exporters
            found.setdefault(name, {}).update(rows_of(name))
        timing.save("architectures", {"networks": found})
        print(name, found[name], flush=True)
    (timing.RESULTS / "architectures.md").write_text(table(saved()), encoding="utf-8")


def saved():
    """The results files of all backends."""
    paths = {b: timing.RESULTS / f"architectures_{b}.json" for b in BACKENDS}
    texts = {b: path.read_text("utf-8") for b, path in paths.items() if path.is_file()}
    return {backend: json.loads(text)["networks"] for backend, text in texts.items()}


if __name__ == "__main__":
    main()
