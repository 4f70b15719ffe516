"""Cases of the layers of Deep SimNets."""

from functools import partial

from tests.cases import Case
from tests.reference import simnets as reference

INF = float("inf")
IMAGES = {1: (2, 5, 2), 2: (2, 4, 5, 2), 3: (1, 3, 3, 4, 2)}
U = {"similarity_weights": (4.0, 5.0)}  # far from 0, where they are projected


def _vectors():
    for p in (0.5, 1.0, 1.5, 2.0, 3.0):
        # x above all templates: away from the kink at x = z
        ranges = {**U, "x": (1.2, 2.0)} if p < 2 else U
        config = {"units": 4, "p": p}
        similarity = partial(reference.similarity, p=p)
        yield Case(f"Similarity-p{p}", "Similarity", config, (3, 5), similarity, ranges)
        learned = {**config, "trainable_p": True}
        ranges = {**ranges, "x": (1.2, 2.0), "p": (max(p, 0.6) - 0.05, max(p, 0.6) + 0.05)}
        yield Case(
            f"Similarity-learned-p{p}", "Similarity", learned, (3, 5), reference.similarity, ranges
        )
    many = {"units": 20, "p": 1.5, "trainable_p": True}
    ranges = {**U, "x": (1.2, 2.0), "p": (1.4, 1.6)}
    yield Case("Similarity-many", "Similarity", many, (2, 3), reference.similarity, ranges)
    deep = {"units": 2, "p": 1.5}
    similarity = partial(reference.similarity, p=1.5)
    yield Case("Similarity-deep", "Similarity", deep, (2, 20), similarity, ranges)
    plain = {"units": 4, "use_similarity_weights": False}
    yield Case("Similarity-unweighted", "Similarity", plain, (2, 3, 5), reference.similarity)
    linear = reference.linear_similarity
    yield Case("LinearSimilarity", "LinearSimilarity", {"units": 4}, (2, 3, 5), linear, U)
    yield Case("LinearSimilarity-unweighted", "LinearSimilarity", plain, (3, 5), linear)


def _patches(rank):
    settings = [
        (1, 1, "valid", 2.0, True),
        (2, 1, "valid", 2.0, True),
        (3, 2, "same", 2.0, False),
        (2, 2, "same", 1.0, True),
        (3, 1, "same", 1.5, True),
    ]
    for kernel, stride, padding, p, use_similarity_weights in settings:
        kernel_size = (kernel,) * (rank - 1) + (min(kernel, 2),)
        strides = (stride,) * (rank - 1) + (1,)
        if rank == 3 and kernel == 3:
            continue  # as (2, ...) in three dimensions, only slower
        config = {
            "filters": 2,
            "kernel_size": kernel_size,
            "strides": strides,
            "padding": padding,
            "use_similarity_weights": use_similarity_weights,
        }
        name = f"Similarity{rank}D-{kernel}-{stride}-{padding}-p{p}"
        patches = partial(
            reference.on_patches, kernel_size=kernel_size, strides=strides, padding=padding
        )
        ranges = dict(U)
        if p < 2:  # templates between the zeros of the padding and the image
            ranges |= {"x": (1.2, 2.0), "templates": (0.3, 0.9)}
        similarity = partial(patches, reference.similarity, p=p)
        layer = f"Similarity{rank}D"
        yield Case(name, layer, config | {"p": p}, IMAGES[rank], _first(similarity), ranges)
        if p == 2:
            linear = partial(patches, reference.linear_similarity)
            yield Case(f"Linear{name}", f"Linear{layer}", config, IMAGES[rank], _first(linear), U)


def _first(f):
    """`on_patches` with x by position."""
    similarity, *_ = f.args

    def reference_(x, templates, similarity_weights=None):
        return f.func(
            similarity, x, templates=templates, similarity_weights=similarity_weights, **f.keywords
        )

    return reference_


def _mex():
    for beta in (0.0, 1e-6, 0.02, 0.4, 1.0, -1.0, 3.0, -30.0, 100.0, INF, -INF):
        fixed = {"units": 3, "beta": beta, "trainable_beta": False}
        yield Case(f"MEX-beta{beta}", "MEX", fixed, (2, 3, 4), partial(reference.mex, beta=beta))
        if abs(beta) <= 3:
            ranges = {"beta": (beta - 1e-3, beta + 1e-3)}
            yield Case(
                f"MEX-learned-beta{beta}", "MEX", {"units": 3}, (2, 3, 4), reference.mex, ranges
            )
    yield Case("MEX-many", "MEX", {"units": 20}, (2, 3), reference.mex, {"beta": (0.4, 2.0)})
    yield Case("MEX-deep", "MEX", {"units": 2}, (2, 20), reference.mex, {"beta": (0.4, 2.0)})
    for name, beta in (
        ("narrow", (0.01, 0.02)),
        ("wide", (50.0, 60.0)),
        ("wide-negative", (-60.0, -50.0)),
    ):
        # beta times the ranges is too small or too large for products of matrices
        for units, n_in in ((20, 3), (2, 20)):
            yield Case(
                f"MEX-{name}-{n_in}-{units}",
                "MEX",
                {"units": units},
                (2, n_in),
                reference.mex,
                {"beta": beta},
            )
    far = {"beta": (20.0, 25.0), "x": (-0.5, 0.5), "offsets": (99.0, 101.0)}
    yield Case("MEX-far-offsets", "MEX", {"units": 3}, (2, 8), reference.mex, far)
    plain = {"units": 2, "use_offsets": False}
    ranges = {"beta": (-0.7, -0.5)}
    yield Case("MEX-plain", "MEX", plain, (3, 4), partial(reference.mex, units=2), ranges)


def _pooling(rank):
    settings = [
        (2, None, "valid", 0.7),
        (3, 2, "same", 0.7),
        (2, 1, "same", -5.0),
        (2, 2, "valid", 0.0),
        (3, 2, "same", 0.0),
        (3, 2, "same", INF),
        (2, 1, "same", -INF),
    ]
    for pool, stride, padding, beta in settings:
        pool_size = (pool,) * (rank - 1) + (2,)
        strides = pool_size if stride is None else (stride,) * rank
        config = {"pool_size": pool_size, "padding": padding, "beta": beta}
        config |= {} if stride is None else {"strides": strides}
        pooled = partial(reference.mex_pool, pool_size=pool_size, strides=strides, padding=padding)
        layer, name = f"MEXPooling{rank}D", f"MEXPooling{rank}D-{pool}-{stride}-{padding}-{beta}"
        fixed = config | {"trainable_beta": False}
        yield Case(name, layer, fixed, IMAGES[rank], partial(pooled, beta=beta))
        if abs(beta) < INF:
            ranges = {"beta": (beta - 1e-3, beta + 1e-3)}
            yield Case(f"{name}-learned", layer, config, IMAGES[rank], pooled, ranges)
    for beta in (0.1, INF):
        config = {"beta": beta, "trainable_beta": beta < INF}
        pooled = reference.global_mex_pool
        if beta == INF:
            pooled = partial(pooled, beta=beta)
        layer, ranges = f"GlobalMEXPooling{rank}D", {"beta": (0.05, 0.2)}
        yield Case(f"{layer}-{beta}", layer, config, IMAGES[rank], pooled, ranges)


def _pooling_with_offsets():
    settings = [  # rank, pool size, strides, padding, beta, shared region, unshared region
        (1, (3,), (1,), "same", 0.7, None, (2,)),
        (2, (2, 3), (2, 2), "same", 0.7, None, None),
        (2, (2, 2), (1, 1), "valid", -3.0, (2, 3), None),
        (2, (3, 2), (1, 2), "same", 0.0, None, (2, 1)),
        (2, (2, 2), (1, 1), "same", INF, None, (9, 9)),
        (3, (2, 1, 2), (1, 1, 2), "same", 1.5, (2, 1, 1), None),
    ]
    for rank, pool_size, strides, padding, beta, shared, unshared in settings:
        config = {"pool_size": pool_size, "strides": strides, "padding": padding}
        config |= {"shared_region": shared, "unshared_region": unshared}
        pooled = partial(reference.mex_pool_with_offsets, **config)
        config |= {"use_offsets": True, "beta": beta, "trainable_beta": False}
        name = f"MEXPooling{rank}D-offsets-{padding}-{beta}-{shared}-{unshared}"
        name = name.replace(" ", "")
        image, layer = IMAGES[rank], f"MEXPooling{rank}D"
        yield Case(name, layer, config, image, partial(pooled, beta=beta))
    learned = config | {"trainable_beta": True}
    yield Case(f"{name}-learned", layer, learned, image, pooled, {"beta": (1.4, 1.6)})


def _missing():
    """Layers with missing values; each mean has a term."""
    ignore, above = {"ignore_nan": True}, {**U, "x": (1.2, 2.0), "p": (1.4, 1.6)}
    for p, learned in ((2.0, False), (1.0, False), (1.5, True), (0.5, False)):
        config = {"units": 3, "p": p, "trainable_p": learned, **ignore}
        similarity = reference.similarity if learned else partial(reference.similarity, p=p)
        name, ranges = f"Similarity-missing-p{p}", U if p == 2 else above
        yield Case(name, "Similarity", config, (4, 5), similarity, ranges, missing=True)
    config = {"units": 3, **ignore}
    linear = reference.linear_similarity
    yield Case("LinearSimilarity-missing", "LinearSimilarity", config, (4, 5), linear, U, True)
    window = {"kernel_size": (2, 2), "strides": (1, 2), "padding": "same"}
    patches = partial(reference.on_patches, reference.similarity, **window)
    config = {"filters": 2, **window, **ignore}
    name = "Similarity2D"
    yield Case(f"{name}-missing", name, config, IMAGES[2], _first(patches), U, missing=True)
    for beta in (0.0, 0.7, -30.0, INF):
        config = {"units": 3, "beta": beta, "trainable_beta": False, **ignore}
        mex = partial(reference.mex, beta=beta)
        yield Case(f"MEX-missing-beta{beta}", "MEX", config, (4, 6), mex, missing=True)
        window = {"pool_size": (3, 3), "strides": (2, 1), "padding": "same"}
        config = {**window, "beta": beta, "trainable_beta": False, **ignore}
        pooled, name = partial(reference.mex_pool, **window, beta=beta), "MEXPooling2D"
        yield Case(f"{name}-missing-{beta}", name, config, IMAGES[2], pooled, missing=True)
    config, beta = {"units": 2, **ignore}, {"beta": (0.6, 0.8)}
    yield Case("MEX-missing-learned", "MEX", config, (4, 6), reference.mex, beta, missing=True)
    config = {"units": 2, "use_offsets": False, **ignore}
    mex = partial(reference.mex, units=2)
    yield Case("MEX-missing-plain", "MEX", config, (4, 6), mex, beta, missing=True)
    regions = {"shared_region": None, "unshared_region": (2, 2)}
    pooled = partial(reference.mex_pool_with_offsets, **window, **regions)
    config, name = {**window, **regions, "use_offsets": True, **ignore}, "MEXPooling2D"
    yield Case(f"{name}-missing-offsets", name, config, IMAGES[2], pooled, beta, missing=True)
    pooled, name = reference.global_mex_pool, "GlobalMEXPooling2D"
    yield Case(f"{name}-missing", name, ignore, IMAGES[2], pooled, beta, missing=True)


CASES = [
    *_vectors(),
    *(case for rank in (1, 2, 3) for case in _patches(rank)),
    *_mex(),
    *(case for rank in (1, 2, 3) for case in _pooling(rank)),
    *_pooling_with_offsets(),
    *_missing(),
]
