"""Prediction on PyTorch: the exported graph of a model, with constants folded and operations merged."""

import operator
import warnings

import torch
from keras import ops


def torch_graph(model):
    """What `model` computes from a batch, as a function of a tensor."""
    example = ops.ones((2, *model.inputs[0].shape[1:]), model.inputs[0].dtype)  # 1 would be fixed
    sizes = [({0: torch.export.Dim("batch", min=1)},)]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of variables that no module owns: they are constants
        exported = torch.export.export(model, (example,), dynamic_shapes=sizes, strict=False)
        module = exported.module()
        _drop_identities(module.graph, torch.ops.aten)
        _branch_in_python(module.graph)
        for pattern, replacement in _shorter_forms(torch.ops.aten):
            torch.fx.replace_pattern(module, pattern, replacement)
        _fold_constants(module)
        _fold_constants_of_branches(module)
        _absorb_factors(module)

    def predict(x):
        with torch.inference_mode():
            return module(x)

    return predict


def _drop_identities(graph, aten):
    """Take out assertions, and conversions of a tensor to what it is."""
    for node in graph.nodes:
        if node.target is aten._assert_tensor_metadata.default:
            graph.erase_node(node)
        elif getattr(node.target, "overloadpacket", None) is aten.to:
            before, after = node.args[0].meta["val"], node.meta["val"]
            if (before.dtype, before.device) == (after.dtype, after.device):
                node.replace_all_uses_with(node.args[0])
                graph.erase_node(node)


def _branch_in_python(graph):
    """Take conditionals as Python's own, and out the check of sizes, which `predictor` has made."""
    for node in graph.nodes:
        if node.target is torch.ops.higher_order.cond:
            node.target = _branch
        elif node.op == "call_module" and not node.users:
            graph.erase_node(node)


def _branch(predicate, yes, no, operands):
    return yes(*operands) if predicate else no(*operands)


def _shorter_forms(aten):
    """Pairs (what Keras makes on PyTorch, the same in fewer operations)."""

    def normalization(x, mean, factor, offset):
        return aten.add_.Tensor(aten.mul_.Tensor(aten.subtract.Tensor(x, mean), factor), offset)

    def affine(x, mean, factor, offset):
        return aten.addcmul.default(
            aten.sub.Tensor(offset, aten.mul.Tensor(mean, factor)), x, factor
        )

    def prelu(x, slope):
        below = aten.mul.Tensor(aten.neg.default(slope), aten.relu.default(aten.neg.default(x)))
        return aten.add.Tensor(aten.relu.default(x), below)

    def interpolation(x, slope):
        return aten.lerp.Tensor(aten.relu.default(x), x, slope)

    def copied_twice(x):
        return channels_last(aten.contiguous.default(x))

    def channels_last(x):
        return aten.contiguous.default(x, memory_format=torch.channels_last)

    return (normalization, affine), (prelu, interpolation), (copied_twice, channels_last)


def _fold_constants(module):
    """Compute what does not depend on the input; nothing is shared with the model afterwards."""
    graph, values = module.graph, {}
    for node in graph.nodes:
        if node.op == "get_attr":
            value = operator.attrgetter(node.target)(module)
        elif node.op == "call_function" and all(n in values for n in node.all_input_nodes):
            arguments = torch.fx.map_arg((node.args, node.kwargs), values.__getitem__)
            value = node.target(*arguments[0], **arguments[1])
        else:
            continue
        if isinstance(value, torch.Tensor):
            values[node] = value
    if any(_is_written(node, values) for node in graph.nodes):  # then they are made at each call
        values = {node: value for node, value in values.items() if node.op == "get_attr"}
    for node, value in values.items():
        users = [user for user in node.users if user not in values]
        if users:
            convolve = all(user.target is torch.ops.aten.conv2d.default for user in users)
            is_kernel = convolve and value.ndim == 4  # in the layout of the images it is not copied
            layout = torch.channels_last if is_kernel else torch.contiguous_format
            name = f"constant_of_{node.name}"
            module.register_buffer(name, value.detach().clone(memory_format=layout))
            with graph.inserting_before(node):
                constant = graph.get_attr(name)
            for user in users:
                user.replace_input_with(node, constant)
    for node in reversed(values):
        graph.erase_node(node)
    module.recompile()


def _fold_constants_of_branches(module):
    """`_fold_constants` of the branches of conditionals, each a graph that takes the constants."""
    for node in module.graph.find_nodes(op="call_function", target=_branch):
        _, *branches, operands = node.args
        for branch in (getattr(module, name.target) for name in branches):
            taken = branch.graph.find_nodes(op="placeholder")
            for placeholder, operand in zip(taken, operands, strict=True):
                if operand.op == "get_attr":
                    value = operator.attrgetter(operand.target)(module)
                    branch.register_buffer(f"{placeholder.name}_value", value)
                    with branch.graph.inserting_after(taken[-1]):
                        constant = branch.graph.get_attr(f"{placeholder.name}_value")
                    placeholder.replace_all_uses_with(constant)
            _fold_constants(branch)


def _absorb_factors(module):
    """Put what multiplies and adds to each channel after a convolution into its weights."""
    graph, aten = module.graph, torch.ops.aten
    for conv in graph.find_nodes(op="call_function", target=aten.conv2d.default):
        x, kernel, *rest = conv.args
        if kernel.op != "get_attr" or any(rest[:1]):  # another one has a bias already
            continue
        weight = operator.attrgetter(kernel.target)(module)
        node, lines = conv, []
        while len(node.users) == 1 and weight.dtype == torch.float32:
            (user,) = node.users
            if user.target is aten.reshape.default or (node is conv and _channels_last_by(user)):
                node = user
            elif (
                node is not conv
                and node.meta["val"].shape[-1] == len(weight)
                and (line := _line(module, user, node, len(weight)))
            ):
                lines.append(line)
                user.replace_all_uses_with(node)
                graph.erase_node(user)
            else:
                break
        if lines:
            factor, constant = weight.new_ones(len(weight)), weight.new_zeros(len(weight))
            for slope, shift in lines:
                factor, constant = factor * slope, constant * slope + shift
            names = [f"{conv.name}_{name}" for name in ("kernel", "constant")]
            for name, value in zip(
                names, (weight * factor.reshape(-1, 1, 1, 1), constant), strict=True
            ):
                module.register_buffer(name, value)
            with graph.inserting_before(conv):
                conv.args = (x, *map(graph.get_attr, names), *rest[1:])
    for node in graph.find_nodes(op="get_attr"):
        if not node.users:
            graph.erase_node(node)
    module.recompile()


def _channels_last_by(node):
    """Whether `node` moves the channels of an image to the end."""
    return (node.target, *node.args[1:]) in (
        (torch.ops.aten.permute.default, [0, 2, 3, 1]),
        (torch.ops.aten.moveaxis.int, 1, -1),
    )


def _line(module, node, x, channels):
    """(factor, constant) of each channel, if that is all that `node` does to `x`, or None."""

    def value(argument):
        if isinstance(argument, int | float):
            return argument
        if argument is x or getattr(argument, "op", "") != "get_attr":
            return None
        tensor = operator.attrgetter(argument.target)(module)
        one_each = tensor.numel() == 1 or tensor.shape[-1:] == (channels,) == (tensor.numel(),)
        return tensor.flatten() if one_each else None

    if node.kwargs:
        return None
    name, arguments = getattr(node.target, "__name__", ""), [*map(value, node.args)]
    unknown = [i for i, known in enumerate(arguments) if known is None]
    if len(unknown) != 1 or node.args[unknown[0]] is not x:
        return None
    (i,) = unknown
    others = arguments[:i] + arguments[i + 1 :]
    if name in ("mul.Tensor", "multiply.Tensor"):
        return others[0], 0.0
    if name == "add.Tensor":
        return 1.0, others[0]
    if name in ("sub.Tensor", "subtract.Tensor") and i == 0:
        return 1.0, -others[0]
    if name == "addcmul.default" and i > 0:
        return others[1], others[0]
    return None


def _is_written(node, values):
    """Whether `node` writes something that depends on the input into one of the `values`."""
    target = node.args[0] if node.op == "call_function" and node.args else None
    return (
        isinstance(target, type(node))
        and target in values
        and node not in values
        and node.is_impure()
    )
