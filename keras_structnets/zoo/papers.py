"""Results that the papers print for several networks at once."""

from typing import Any

UNAUGMENTED = " without augmentation"

# GConvNets, Table 2: parameters; accuracy in percent with and without augmentation; the epoch of the
# lowest validation loss with and without augmentation
GCONV_TABLE_2: dict[str, dict[str, tuple[str, float, float, int, int]]] = {
    "cifar10": {
        "shufflenet_v2_x0_5": ("0.35M", 76.5, 60.5, 47, 9),
        "g_conv_net": ("1.43M", 88.4, 78.4, 71, 11),
        "mobilenet_v3_small": ("1.53M", 80.0, 63.2, 17, 13),
        "mobilenet_v2": ("2.24M", 84.4, 73.0, 32, 17),
        "regnet_y_400mf": ("3.91M", 82.7, 68.0, 30, 14),
        "efficientnet_b0": ("4.0M", 85.6, 70.0, 79, 8),
        "regnet_y_800mf": ("5.66M", 82.9, 33.5, 21, 6),
        "efficientnet_b1": ("6.5M", 87.2, 72.9, 66, 14),
        "efficientnet_b2": ("7.72M", 86.1, 75.0, 43, 20),
        "resnet18": ("11.18M", 86.1, 73.9, 13, 6),
        "resnet34": ("21.29M", 86.5, 74.2, 17, 8),
        "convnext_tiny": ("27.82M", 76.2, 60.4, 19, 5),
        "convnext_small": ("49.45M", 84.6, 59.8, 15, 5),
    },
    "cifar100": {
        "shufflenet_v2_x0_5": ("0.44M", 39.7, 32.3, 14, 14),
        "g_conv_net": ("1.46M", 56.8, 44.4, 81, 23),
        "mobilenet_v3_small": ("1.62M", 37.2, 33.8, 20, 28),
        "mobilenet_v2": ("2.35M", 54.5, 38.8, 46, 20),
        "regnet_y_400mf": ("3.95M", 46.0, 31.9, 19, 8),
        "efficientnet_b0": ("4.14M", 53.0, 35.0, 38, 21),
        "regnet_y_800mf": ("5.73M", 49.2, 38.2, 13, 10),
        "efficientnet_b1": ("6.64M", 53.2, 32.2, 80, 8),
        "efficientnet_b2": ("7.84M", 54.2, 44.3, 13, 14),
        "resnet18": ("11.23M", 53.8, 42.9, 12, 9),
        "resnet34": ("21.34M", 53.4, 42.4, 17, 7),
        "convnext_tiny": ("27.89M", 42.8, 30.4, 15, 5),
        "convnext_small": ("49.52M", 44.1, 32.6, 16, 8),
    },
    "tiny_imagenet": {
        "shufflenet_v2_x0_5": ("0.55M", 35.7, 28.6, 40, 13),
        "g_conv_net": ("1.49M", 48.5, 34.8, 75, 25),
        "mobilenet_v3_small": ("1.72M", 33.8, 28.7, 83, 18),
        "mobilenet_v2": ("2.35M", 39.1, 32.4, 35, 16),
        "regnet_y_400mf": ("3.99M", 38.2, 29.3, 21, 12),
        "efficientnet_b0": ("4.26M", 42.6, 32.4, 90, 13),
        "regnet_y_800mf": ("5.8M", 40.5, 35.2, 18, 8),
        "efficientnet_b1": ("6.77M", 44.4, 32.2, 92, 17),
        "efficientnet_b2": ("7.98M", 40.4, 31.3, 109, 16),
        "resnet18": ("11.28M", 40.0, 33.0, 12, 5),
        "resnet34": ("21.39M", 39.9, 34.2, 19, 5),
        "convnext_tiny": ("27.97M", 37.7, 26.9, 14, 9),
        "convnext_small": ("49.59M", 38.2, 27.6, 14, 9),
    },
}


def table_2(name: str) -> dict[str, Any]:
    """What Table 2 of GConvNets prints for one network: sizes by classes, accuracy by data set.

    Example:
        >>> from keras_structnets.zoo import papers
        >>> papers.table_2("resnet18")["printed_accuracy"]["cifar10 without augmentation"]
        73.9
    """
    printed: dict[int, str] = {}
    accuracy: dict[str, float] = {}
    for (dataset, rows), num_classes in zip(GCONV_TABLE_2.items(), (10, 100, 200), strict=True):
        printed[num_classes], augmented, unaugmented, *_ = rows[name]
        accuracy |= {dataset: augmented, dataset + UNAUGMENTED: unaugmented}
    return {"printed": printed, "printed_accuracy": accuracy}
