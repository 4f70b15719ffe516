"""Texts inside exported files, for those who run them: the names of the classes, for example.

Each function adds `texts`, a dict of strings, to a file where its format has a place for them.
"""

import importlib
import pathlib
import zipfile
from xml.etree import ElementTree


def checked_texts(texts):
    """The texts, if they are such, and their names fit into every format."""
    for name, text in texts.items():
        if not str(name).isidentifier() or not isinstance(text, str):
            raise ValueError(
                f"export: `metadata` must be strings by names of letters, digits and underscores, got "
                f"{name!r}: {text!r}. Use for example {{'class_names': 'cat, dog'}}."
            )
    return texts


def onnx(path, texts):
    """As properties, `session.get_modelmeta().custom_metadata_map` in ONNX Runtime."""
    library = importlib.import_module("onnx")
    model = library.load(path)
    library.helper.set_model_props(model, texts)
    library.save(model, path)


def litert(path, texts):
    """As files of a ZIP archive behind the model, where LiteRT's own tools put lists of labels."""
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in texts.items():
            archive.writestr(f"{name}.txt", text)


def openvino(path, texts):
    """As `model.get_rt_info(["model_info", name])`."""
    tree = ElementTree.parse(path)
    root = tree.getroot()
    info = root.find("rt_info")
    info = ElementTree.SubElement(root, "rt_info") if info is None else info
    info = ElementTree.SubElement(info, "model_info")
    for name, text in texts.items():
        ElementTree.SubElement(info, name, value=text)
    tree.write(path)


def saved_model(path, texts):
    """As files in `assets.extra`, which TensorFlow leaves to users."""
    folder = pathlib.Path(path, "assets.extra")
    folder.mkdir()
    for name, text in texts.items():
        folder.joinpath(f"{name}.txt").write_text(text, encoding="utf-8")


def torch(path, texts):
    """As the extra files of `torch.export.load(path, extra_files={"class_names": ""})`."""
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        for name, text in texts.items():
            archive.writestr(f"{root}/extra/{name}", text)
