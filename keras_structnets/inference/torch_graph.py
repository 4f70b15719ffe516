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
        for pattern, replacement in _shorter_patterns(torch.ops.aten):
            torch.fx.replace_pattern(module, pattern, replacement)
        _fold_constants(module)
        _fold_constants_of_branches(module)
        _absorb_factors(module)

    def predict(x):
        with torch.inference_mode():
            return module(x)

    return predict


def _drop_identities(graph, aten):
    """Drop assertions, and conversions of a tensor to the type and device that it has."""
    for node in graph.nodes:
        if node.target is aten._assert_tensor_metadata.default:
            graph.erase_node(node)
        elif getattr(node.target, "overloadpacket", None) is aten.to:
            before, after = node.args[0].meta["val"], node.meta["val"]
            if (before.dtype, before.device) == (after.dtype, after.device):
                node.replace_all_uses_with(node.args[0])
                graph.erase_node(node)


def _branch_in_python(graph):
    """Make conditionals Python's own, and drop the check of sizes, which `predictor` makes."""
    for node in graph.nodes:
        if node.target is torch.ops.higher_order.cond:
            node.target = _branch
        elif node.op == "call_module" and not node.users:
            graph.erase_node(node)


def _branch(predicate, if_true, if_false, operands):
    return if_true(*operands) if predicate else if_false(*operands)


def _shorter_patterns(aten):
    """Pairs (a pattern that Keras makes, the same in fewer operations)."""

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
    values = _constant_values(module)
    if any(_is_mutated(node, values) for node in module.graph.nodes):  # computed in each call then
        values = {node: value for node, value in values.items() if node.op == "get_attr"}
    for node, value in values.items():
        users = [user for user in node.users if user not in values]
        if users:
            _replace_by_buffer(module, node, value, users)
    for node in reversed(values):
        module.graph.erase_node(node)
    module.recompile()


def _constant_values(module):
    """{node: its tensor} of all nodes that depend on weights and constants alone."""
    values = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            value = operator.attrgetter(node.target)(module)
        elif node.op == "call_function" and all(n in values for n in node.all_input_nodes):
            args, kwargs = torch.fx.map_arg((node.args, node.kwargs), values.__getitem__)
            value = node.target(*args, **kwargs)
        else:
            continue
        if isinstance(value, torch.Tensor):
            values[node] = value
    return values


def _replace_by_buffer(module, node, value, users):
    """Let `users` take a copy of `value`; PyTorch copies no kernel that has the images' layout."""
    convolve = all(user.target is torch.ops.aten.conv2d.default for user in users)
    is_kernel = convolve and value.ndim == 4
    layout = torch.channels_last if is_kernel else torch.contiguous_format
    name = f"constant_of_{node.name}"
    module.register_buffer(name, value.detach().clone(memory_format=layout))
    with module.graph.inserting_before(node):
        constant = module.graph.get_attr(name)
    for user in users:
        user.replace_input_with(node, constant)


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
    """Merge what multiplies or adds to each channel after a convolution into its weights."""
    graph = module.graph
    for conv in graph.find_nodes(op="call_function", target=torch.ops.aten.conv2d.default):
        x, kernel, *rest = conv.args
        if kernel.op != "get_attr" or any(rest[:1]):  # another one has a bias already
            continue
        weight = operator.attrgetter(kernel.target)(module)
        lines = _lines_after(module, conv, weight)
        if lines:
            factor, constant = weight.new_ones(len(weight)), weight.new_zeros(len(weight))
            for slope, shift in lines:
                factor, constant = factor * slope, constant * slope + shift
            names = f"{conv.name}_kernel", f"{conv.name}_constant"
            module.register_buffer(names[0], weight * factor.reshape(-1, 1, 1, 1))
            module.register_buffer(names[1], constant)
            with graph.inserting_before(conv):
                conv.args = (x, *map(graph.get_attr, names), *rest[1:])
    for node in graph.find_nodes(op="get_attr"):
        if not node.users:
            graph.erase_node(node)
    module.recompile()


def _lines_after(module, conv, weight):
    """Erase the nodes that only multiply and add to the channels of `conv`; their `_line`s."""
    node, lines, channels = conv, [], len(weight)
    while len(node.users) == 1 and weight.dtype == torch.float32:
        (user,) = node.users
        moves_channels = node is conv and _channels_last_by(user)
        if moves_channels or user.target is torch.ops.aten.reshape.default:
            node = user
        elif node is conv or node.meta["val"].shape[-1] != channels:
            break
        elif line := _line(module, user, node, channels):
            lines.append(line)
            user.replace_all_uses_with(node)
            module.graph.erase_node(user)
        else:
            break
    return lines


def _channels_last_by(node):
    """Whether `node` moves the channels of an image to the end."""
    return (node.target, *node.args[1:]) in (
        (torch.ops.aten.permute.default, [0, 2, 3, 1]),
        (torch.ops.aten.moveaxis.int, 1, -1),
    )


def _line(module, node, x, channels):
    """(factor, constant) of each channel, if that is all that `node` does to `x`, or None."""
    if node.kwargs:
        return None
    name = getattr(node.target, "__name__", "")
    arguments = [_value_of_channels(module, a, x, channels) for a in node.args]
    unknown = [i for i, value in enumerate(arguments) if value is None]
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


def _value_of_channels(module, argument, x, channels):
    """A number, or a constant of one value or one for each channel; None for anything else."""
    if isinstance(argument, int | float):
        return argument
    if argument is x or getattr(argument, "op", "") != "get_attr":
        return None
    tensor = operator.attrgetter(argument.target)(module)
    for_channels = tensor.numel() == 1 or tensor.shape[-1:] == (channels,) == (tensor.numel(),)
    return tensor.flatten() if for_channels else None


def _is_mutated(node, values):
    """Whether `node` writes something that depends on the input into one of the `values`."""
    target = node.args[0] if node.op == "call_function" and node.args else None
    return (
        isinstance(target, type(node))
        and target in values
        and node not in values
        and node.is_impure()
    )
