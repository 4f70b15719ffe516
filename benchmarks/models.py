"""Models of ours against the same networks written by hand in PyTorch.

    structnets bench models [--backend jax|torch|tensorflow] [--device DEVICE]

A step of training (Adam, cross entropy, 128 images of 32x32) and prediction for 1 and for 256 images:
ours as Keras compiles them for `fit` and `predict`, on the backend at hand, and the modules of
benchmarks/peers, eager as PyTorch runs them. Prediction is also that of `zoo.predictor`. Both in one
process, in alternation, from the same weights; before that their outputs are compared. "times faster"
is the median of the peer's time over ours, round by round. Memory is what a step takes on top of what
is there before.
"""

import importlib.util

import keras
import numpy as np

import keras_structnets as ksn

from . import timing

BATCH, PREDICTED = 128, (1, 256)
GOAL_STEP = round(
    1 / 1.2, 3
)  # at most 1.2 times slower; the best backend is to be 1.2 times faster


def main(pattern="", rounds=9):
    """Measure the models whose name contains `pattern`; the result as it is saved."""
    if importlib.util.find_spec("torch") is None:
        raise ValueError(
            "bench: models are compared with PyTorch, which is not installed. Use: pip install torch"
        )
    from . import peers

    found = {
        "rounds": rounds,
        "PyTorch": peers.torch.__version__,
        "limits": timing.limits_of_the_machine(),
    }
    for name in peers.PEERS:
        if pattern.lower() in name:
            for key, value in measure(name, peers, rounds, found["limits"]).items():
                found.setdefault(key, {})[name] = value
    return found


def measure(name, peers, rounds, limits):
    """One model: {what: figure}."""
    torch = peers.torch
    model = ksn.zoo.build(name, include_preprocessing=False, classifier_activation=None)
    peer = peers.peer_of(name, model).to(device := torch_device(torch))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(max(PREDICTED), 32, 32, 3)).astype("float32")
    y = rng.integers(0, 10, BATCH)
    images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(device)
    labels = torch.from_numpy(y).to(device)
    found = {}

    def predict(n):
        with torch.inference_mode():
            return peer(images[:n]).cpu().numpy()

    peer.eval()
    ours = {"": model.predict_on_batch, ", predictor": ksn.zoo.predictor(model)}
    theirs = predict(BATCH)
    errors = [np.max(np.abs(f(x[:BATCH]) - theirs)) / np.max(np.abs(theirs)) for f in ours.values()]
    assert max(errors) < 1e-4, (name, errors)
    found["largest difference, relative"] = float(f"{max(errors):.2g}")
    for how, f in ours.items():
        for n in PREDICTED:
            steps = {"ours": lambda n=n, f=f: f(x[:n]), "peer": lambda n=n: predict(n)}
            report(found, f"predicting {n}{how}", steps, rounds)
    peer.train()
    optimizer = torch.optim.Adam(peer.parameters(), 1e-3, eps=1e-7)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    steps = {
        "ours": lambda: model.train_on_batch(x[:BATCH], y),
        "peer": lambda: peers.train_step(peer, optimizer, images[:BATCH], labels),
    }
    took = report(found, "training", steps, rounds)
    found["MiB, training"] = [timing.memory_of(steps[key]) for key in ("ours", "peer")]
    needed = 3e-6 * BATCH * ksn.zoo.flops(model).total / limits["products of matrices, Gflop/s"]
    found["share of the machine's limit, training"] = round(needed / took, 2)
    print(
        f"{name}: {found['times faster, training']} times faster in training (goal {GOAL_STEP}), "
        + ", ".join(
            f"{found[f'times faster, predicting {n}{how}']} predicting {n}{how}"
            for how in ours
            for n in PREDICTED
        ),
        flush=True,
    )
    return found


def report(found, what, steps, rounds):
    """Time a pair; the median of ours."""
    times = timing.alternate(steps, rounds, warm_up=2)
    ratio = timing.times_faster(times, "ours", "peer")
    found[f"times faster, {what}"] = ratio[1]
    found[f"quartiles, {what}"] = ratio[::2]
    found[f"milliseconds, {what}"] = [timing.median(times[key]) for key in ("ours", "peer")]
    return timing.median(times["ours"])


def torch_device(torch):
    """The GPU where Keras computes on one."""
    if keras.backend.backend() == "torch":
        on_gpu = torch.cuda.is_available()
    else:
        devices = keras.distribution.list_devices()
        on_gpu = any(device.startswith(("gpu", "cuda")) for device in devices)
    return torch.device("cuda" if on_gpu and torch.cuda.is_available() else "cpu")
