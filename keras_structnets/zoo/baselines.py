"""The networks that GConvNets compares itself with (its Table 2), with random weights.

Where they come from: `keras.applications` (MobileNet, EfficientNet, ConvNeXt), keras-cv (ResNet,
the optional extra `cv`) and this file (RegNetY and ShuffleNetV2, on public Keras layers). Nothing
is downloaded. `printed` holds the parameter counts of Table 2. Notes on three of its rows:

- The printed counts of ConvNeXt leave out the scales of its residual branches (LayerScale): 6,624 parameters
  of `convnext_tiny` and 13,536 of `convnext_small`. Without them all six printed counts agree with ours.
- MobileNetV2 with 200 classes is printed as 2.35M, which is its size with 100; it has 2.48M.
- EfficientNet with 10 classes is printed with one decimal: 4.0M and 6.5M.

Batch normalization has a momentum of 0.99 (EfficientNet, ResNet) or 0.999 (MobileNet), not 0.9: after a short
training, the validation accuracy is too low. All halve the image five times: 32x32 pixels end as one.
"""

import keras

from keras_structnets import checks
from keras_structnets.zoo.papers import table_2
from keras_structnets.zoo.registry import register


@register(
    "mobilenet_v2",
    paper="MobileNetV2, arXiv:1801.04381",
    summary="Inverted residuals with linear bottlenecks",
    **table_2("mobilenet_v2"),
)
def mobilenet_v2(x):
    """Features [b, h/32, w/32, 1280] of MobileNetV2, width 1."""
    return keras.applications.MobileNetV2(input_tensor=x, include_top=False, weights=None).output


def mobilenet_v3_head(features, num_classes, *, dropout=0.2):
    """Pooling, a hidden layer of 1024, dropout and a dense layer (MobileNetV3, Table 2)."""
    x = keras.layers.GlobalAveragePooling2D(name="global_pooling")(features)
    x = keras.layers.Dense(1024, activation="hard_swish", name="hidden")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.layers.Dense(num_classes, name="logits")(x)


@register(
    "mobilenet_v3_small",
    paper="MobileNetV3, arXiv:1905.02244",
    summary="Inverted residuals with squeeze and excitation, found by a search",
    **table_2("mobilenet_v3_small"),
    head=mobilenet_v3_head,
)
def mobilenet_v3_small(x):
    """Features [b, h/32, w/32, 576] of MobileNetV3-Small, width 1. At least 32x32 pixels."""
    _at_least_32_pixels("mobilenet_v3_small", x)
    return keras.applications.MobileNetV3Small(
        input_tensor=x, include_top=False, weights=None, include_preprocessing=False
    ).output


def dropout_head(features, num_classes, *, dropout):
    """Pooling, dropout and a dense layer (EfficientNet, section 5.2)."""
    x = keras.layers.GlobalAveragePooling2D(name="global_pooling")(features)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.layers.Dense(num_classes, name="logits")(x)


def _efficientnet(application, x):
    """Features of an EfficientNet on normalized input, like those of every other model of the zoo.

    That of keras.applications divides its input by 255, without a switch: multiply by 255 first.
    """
    x = keras.layers.Rescaling(255.0, name="undo_rescaling")(x)
    return application(input_tensor=x, include_top=False, weights=None).output


@register(
    "efficientnet_b0",
    paper="EfficientNet, arXiv:1905.11946",
    summary="Depth, width and resolution scaled together: the base network",
    **table_2("efficientnet_b0"),
    head=dropout_head,
    dropout=0.2,
)
def efficientnet_b0(x):
    """Features [b, h/32, w/32, 1280] of EfficientNet-B0."""
    return _efficientnet(keras.applications.EfficientNetB0, x)


@register(
    "efficientnet_b1",
    paper="EfficientNet, arXiv:1905.11946",
    summary="EfficientNet-B0 made 1.1 times as deep",
    **table_2("efficientnet_b1"),
    head=dropout_head,
    dropout=0.2,
)
def efficientnet_b1(x):
    """Features [b, h/32, w/32, 1280] of EfficientNet-B1."""
    return _efficientnet(keras.applications.EfficientNetB1, x)


@register(
    "efficientnet_b2",
    paper="EfficientNet, arXiv:1905.11946",
    summary="EfficientNet-B0 made 1.2 times as deep and 1.1 times as wide",
    **table_2("efficientnet_b2"),
    head=dropout_head,
    dropout=0.3,
)
def efficientnet_b2(x):
    """Features [b, h/32, w/32, 1408] of EfficientNet-B2."""
    return _efficientnet(keras.applications.EfficientNetB2, x)


def convnext_head(features, num_classes):
    """Pooling, layer normalization and a dense layer, as in ConvNeXt."""
    x = keras.layers.GlobalAveragePooling2D(name="global_pooling")(features)
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="head_normalization")(x)
    return keras.layers.Dense(num_classes, name="logits")(x)


def _convnext(application, x):
    """Features of a ConvNeXt, without its last layer normalization: that belongs after pooling."""
    model = application(
        input_tensor=x, include_top=False, weights=None, include_preprocessing=False
    )
    return model.layers[-1].input


@register(
    "convnext_tiny",
    paper="ConvNeXt, arXiv:2201.03545",
    summary="ConvNet with design choices of transformers, 3-3-9-3 blocks",
    **table_2("convnext_tiny"),
    head=convnext_head,
)
def convnext_tiny(x):
    """Features [b, h/32, w/32, 768] of ConvNeXt-T. At least 32x32 pixels."""
    _at_least_32_pixels("convnext_tiny", x)
    return _convnext(keras.applications.ConvNeXtTiny, x)


@register(
    "convnext_small",
    paper="ConvNeXt, arXiv:2201.03545",
    summary="ConvNet with design choices of transformers, 3-3-27-3 blocks",
    **table_2("convnext_small"),
    head=convnext_head,
)
def convnext_small(x):
    """Features [b, h/32, w/32, 768] of ConvNeXt-S. At least 32x32 pixels."""
    _at_least_32_pixels("convnext_small", x)
    return _convnext(keras.applications.ConvNeXtSmall, x)


@register(
    "resnet34",
    paper="ResNet, arXiv:1512.03385",
    summary="Residual network with 34 layers, by keras-cv",
    **table_2("resnet34"),
    depths=(3, 4, 6, 3),
)
@register(
    "resnet18",
    paper="ResNet, arXiv:1512.03385",
    summary="Residual network with 18 layers, by keras-cv",
    **table_2("resnet18"),
    depths=(2, 2, 2, 2),
)
def resnet(x, *, depths):
    """Features [b, h/32, w/32, 512] of a ResNet of `depths` basic blocks per stage.

    keras-cv is needed to build it, not to load a saved one: the model holds plain Keras layers.
    """
    depths = checks.integers("resnet", "depths", depths, 4)
    backbone = _keras_cv().models.ResNetBackbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=list(depths),
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=False,
        block_type="basic_block",
        input_shape=x.shape[1:],
    )
    return _layers_on(x, backbone)


@register(
    "regnet_y_800mf",
    paper="RegNet, arXiv:2003.13678",
    summary="Grouped bottlenecks with squeeze and excitation, 0.8 GFLOPs at 224x224",
    **table_2("regnet_y_800mf"),
    widths=(64, 144, 320, 784),
    depths=(1, 3, 8, 2),
    group_width=16,
)
@register(
    "regnet_y_400mf",
    paper="RegNet, arXiv:2003.13678",
    summary="Grouped bottlenecks with squeeze and excitation, 0.4 GFLOPs at 224x224",
    **table_2("regnet_y_400mf"),
    widths=(48, 104, 208, 440),
    depths=(1, 3, 6, 6),
    group_width=8,
)
def regnet_y(x, *, widths, depths, group_width):
    """Features [b, h/32, w/32, widths[-1]] of a RegNetY: a stem, then one stage per width.

    The first block of a stage halves the image. Widths are torchvision's; padding is 'same'.
    """
    widths = _sequence("regnet_y", "widths", widths)
    depths = checks.integers("regnet_y", "depths", depths, len(widths))
    group_width = checks.integer("regnet_y", "group_width", group_width)
    if any(width % group_width for width in widths):
        raise ValueError(
            f"regnet_y: `group_width`={group_width} does not divide all `widths` {widths}. "
            "Use a common divisor of them."
        )
    x = _conv_norm(x, 32, 3, strides=2, activation="relu")
    for width, depth in zip(widths, depths, strict=True):
        for i in range(depth):
            x = _regnet_block(x, width, group_width, strides=2 if i == 0 else 1)
    return x


def _regnet_block(x, width, group_width, strides):
    """A residual bottleneck: 1x1, grouped 3x3, squeeze and excitation, 1x1: RegNet's Y block."""
    width_in = x.shape[-1]
    y = _conv_norm(x, width, 1, activation="relu")
    y = _conv_norm(
        y, width, 3, strides=strides, groups=width // group_width, activation="relu"
    )  # [b, h/strides, w/strides, width]
    y = _squeeze_excite(y, round(width_in / 4))
    y = _conv_norm(y, width, 1)
    if strides > 1 or width_in != width:
        x = _conv_norm(x, width, 1, strides=strides)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))


def _squeeze_excite(x, squeezed):
    """Each channel times a gate that depends on the means of all channels."""
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)  # [b, 1, 1, c]
    gate = keras.layers.Conv2D(squeezed, 1, activation="relu", kernel_initializer="he_normal")(gate)
    gate = keras.layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(gate)
    return keras.layers.Multiply()([x, gate])


@register(
    "shufflenet_v2_x0_5",
    paper="ShuffleNetV2, arXiv:1807.11164",
    summary="Half of the channels pass, half are convolved, then both are shuffled",
    **table_2("shufflenet_v2_x0_5"),
)
def shufflenet_v2(x, *, widths=(24, 48, 96, 192, 1024), depths=(4, 8, 4)):
    """Features [b, h/32, w/32, widths[-1]] of a ShuffleNetV2.

    `widths`: of the stem, of each stage and of the last 1x1 convolution. `depths`: units per stage.
    """
    depths = _sequence("shufflenet_v2", "depths", depths)
    widths = checks.integers("shufflenet_v2", "widths", widths, len(depths) + 2)
    if any(width % 2 for width in widths[1:-1]):
        raise ValueError(
            f"shufflenet_v2: `widths` of the stages must be even, got {widths}. "
            "Each stage is cut into halves: use for example widths=(24, 48, 96, 192, 1024)."
        )
    x = _conv_norm(x, widths[0], 3, strides=2, activation="relu")
    x = keras.layers.MaxPooling2D(3, 2, padding="same")(x)
    for width, depth in zip(widths[1:-1], depths, strict=True):
        x = _shuffle_unit(x, x, width, strides=2)
        for _ in range(depth - 1):
            x = _shuffle_unit(*keras.ops.split(x, 2, axis=-1), width)
    return _conv_norm(x, widths[-1], 1, activation="relu")


def _shuffle_unit(passed, x, width, strides=1):
    """`passed` next to the convolved `x`, channels interleaved (ShuffleNetV2, Figure 3c and 3d)."""
    half = width // 2
    x = _conv_norm(x, half, 1, activation="relu")
    x = _depthwise_norm(x, strides)
    x = _conv_norm(x, half, 1, activation="relu")
    if strides > 1:
        passed = _depthwise_norm(passed, strides)
        passed = _conv_norm(passed, half, 1, activation="relu")
    _, height, width_of_image, _ = x.shape
    x = keras.layers.Concatenate()([passed, x])
    x = keras.layers.Reshape((height, width_of_image, 2, half))(x)
    x = keras.layers.Permute((1, 2, 4, 3))(x)  # [b, h, w, half, 2]
    return keras.layers.Reshape((height, width_of_image, width))(x)


def _sequence(owner, name, values):
    """`values` as a tuple of integers of at least 1, however many."""
    if not isinstance(values, (tuple, list)) or not values:
        raise ValueError(
            f"{owner}: `{name}` must be a sequence of integers, one per stage, got {values!r}. "
            f"Use for example {name}=(4, 8, 4)."
        )
    return checks.integers(owner, name, values, len(values))


def _conv_norm(x, filters, kernel_size, strides=1, groups=1, activation=None):
    """Convolution without bias, batch normalization, activation."""
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding="same",
        groups=groups,
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return keras.layers.Activation(activation)(x) if activation else x


def _depthwise_norm(x, strides):
    """Depthwise 3x3 convolution without bias, batch normalization."""
    x = keras.layers.DepthwiseConv2D(
        3, strides, padding="same", use_bias=False, depthwise_initializer="he_normal"
    )(x)
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def _layers_on(x, model):
    """Output on `x` of copies of `model`'s layers: a flat graph, where a call would nest it."""
    (inputs,) = model.inputs
    tensors = {id(inputs): x}
    for layer in model.layers[1:]:  # in the order of the graph
        copy = layer.__class__.from_config(layer.get_config())
        tensors[id(layer.output)] = copy(
            keras.tree.map_structure(lambda tensor: tensors[id(tensor)], layer.input)
        )
    return tensors[id(model.output)]


def _keras_cv():
    try:
        import keras_cv
    except ImportError as error:
        raise ImportError(
            "resnet18 and resnet34 are built by keras-cv, which needs TensorFlow whatever "
            'the Keras backend is. Install both: pip install "keras_structnets[cv]". '
            f"What is missing: {error}"
        ) from error
    return keras_cv


def _at_least_32_pixels(name, x):
    _, height, width, _ = x.shape
    if min(height, width) < 32:
        raise ValueError(
            f"build({name!r}): `input_shape` {tuple(x.shape[1:])} is too small for this network, "
            "which halves the image five times. Use at least 32x32 pixels."
        )
