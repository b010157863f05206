"""The end of a compiled graph, from its last feature map to probabilities, turned round: how much
each place of the map adds to each label.

For networks that end in a mean over all places and a fully connected layer this is the class
activation map (Zhou et al., 2016), which Grad-CAM equals there. Further layers with a ReLU or a
hard swish between them, and maps that are flattened and not averaged (VGG), are followed by their
derivative at the photo's own values, place by place (HiResCAM, Draelos and Carin, 2020). One
forward pass, and no library for gradients, is all it takes.
"""

from typing import Any

import numpy as np

from artifact.compiled import core

SPACE = (2, 3)
"""Axes of height and width in N x C x H x W."""
LONGEST = 64
"""Layers that are followed back from the probabilities; the longest tail known has 20."""


def with_maps(model: Any) -> Any | None:
    """A model whose one output is, for each photo, its probabilities and then labels x H x W
    numbers; None where the network's end is none that is known, as a transformer's."""
    from openvino import Model

    try:
        maps = _Tail(model).maps()
    except _UnknownError:
        return None
    from openvino import opset13 as ops

    probabilities = model.get_results()[0].input_value(0)
    flat = ops.reshape(maps, np.array([0, -1], np.int64), True)
    both = ops.concat([probabilities, flat], 1)
    return Model([both.output(0)], model.get_parameters(), "heat")


class _UnknownError(Exception):
    pass


class _Tail:
    """Walks back from the result. `rows` are the derivatives of all logits by what was last
    reached: 1 x labels x inputs, or N x labels x inputs once a photo's own values are in them."""

    def __init__(self, model: Any) -> None:
        from openvino import opset13 as ops

        self._ops = ops
        self._model = model
        self._rows: Any = None

    def maps(self) -> Any:
        """N x labels x H x W, or x (H * W): what each place adds to each logit."""
        at = self._logits(self._model.get_results()[0].input_value(0))
        for _ in range(LONGEST):
            kind = at.get_node().get_type_name()
            if kind in ("Add", "Subtract", "Multiply", "Divide"):
                at = self._arithmetic(at.get_node(), kind)
            elif kind == "MatMul":
                at = self._layer(at.get_node())
            elif kind in ("Relu", "HSwish"):
                at = self._activation(at.get_node(), kind)
            elif kind in ("Reshape", "Squeeze", "Unsqueeze", "FakeQuantize", "Convert"):
                before = at.get_node().input_value(0)
                if _places(before) > 1:
                    return self._of_flat(before)
                at = before
            elif kind in ("ReduceMean", "AvgPool", "AdaptiveAvgPool"):
                return self._of_mean(at.get_node())
            else:
                raise _UnknownError
        raise _UnknownError

    @staticmethod
    def _logits(at: Any) -> Any:
        if at.get_node().get_type_name() not in ("Softmax", "Sigmoid"):
            raise _UnknownError
        return at.get_node().input_value(0)

    def _arithmetic(self, node: Any, kind: str) -> Any:
        """A bias changes no derivative, and one factor for all no proportion."""
        first, second = node.input_value(0), node.input_value(1)
        if _fixed(first) and kind != "Divide":
            first, second = second, first
        if not _fixed(second) or _fixed(first):
            raise _UnknownError
        if kind in ("Multiply", "Divide") and _size(second) != 1:
            raise _UnknownError
        return first

    def _layer(self, node: Any) -> Any:
        inputs, weights = node.input_value(0), node.input_value(1)
        options = node.get_attributes()
        if not _fixed(weights) or options["transpose_a"]:
            raise _UnknownError
        values = _values(weights)
        if not options["transpose_b"]:
            values = values.T
        # numbers of their own: OpenVINO 2026.4 takes a square matrix for its transpose where two
        # layers share it
        own = self._ops.constant(np.ascontiguousarray(values))
        if self._rows is None:
            self._rows = self._ops.unsqueeze(own, np.int64(0))
        else:
            self._rows = self._ops.matmul(self._rows, own, False, False)
        return inputs

    def _activation(self, node: Any, kind: str) -> Any:
        ops, inputs = self._ops, node.input_value(0)
        if self._rows is None:
            raise _UnknownError
        zero, three = np.float32(0), np.float32(3)
        if kind == "Relu":
            slope = ops.convert(ops.greater(inputs, zero), "f32")
        else:  # x * clip(x + 3, 0, 6) / 6
            inside = ops.convert(ops.less(ops.abs(inputs), three), "f32")
            above = ops.convert(ops.greater_equal(inputs, three), "f32")
            line = ops.add(ops.divide(inputs, three), np.float32(0.5))
            slope = ops.add(ops.multiply(inside, line), above)
        slope = ops.reshape(slope, np.array([0, -1], np.int64), True)
        self._rows = ops.multiply(self._rows, ops.unsqueeze(slope, np.int64(1)))
        return inputs

    def _of_mean(self, node: Any) -> Any:
        features = node.input_value(0)
        if _places(node.output(0)) != 1:
            return self._of_flat(node.output(0))
        rank = len(features.get_partial_shape())
        if node.get_type_name() == "ReduceMean":
            axes = tuple(sorted(int(each) for each in node.input_value(1).get_node().get_data()))
            if rank != 4 or axes not in (SPACE, (1, 2)):
                raise _UnknownError
            if axes == (1, 2):  # N x H x W x C
                features = self._ops.transpose(features, np.array([0, 3, 1, 2], np.int64))
                features = features.output(0)
        if rank != 4 or _places(features) == 1:
            raise _UnknownError
        if self._rows is None:
            return features.get_node()
        flat = self._ops.reshape(features, np.array([0, 0, -1], np.int64), True)
        return self._ops.matmul(self._rows, flat, False, False)

    def _of_flat(self, features: Any) -> Any:
        """Each place has weights of its own: value times derivative, added up over channels."""
        if self._rows is None or not features.get_partial_shape()[1].is_static:
            raise _UnknownError
        ops, channels = self._ops, features.get_partial_shape()[1].get_length()
        shape = np.array([0, 0, channels, _places(features)], np.int64)
        rows = ops.reshape(self._rows, shape, True)
        flat = ops.reshape(features, np.array([0, 0, -1], np.int64), True)
        values = ops.unsqueeze(flat, np.int64(1))  # N x 1 x C x places
        return ops.reduce_sum(ops.multiply(rows, values), np.array([2], np.int64))


def _fixed(output: Any) -> bool:
    """Whether it is the same for every photo: nothing it is made of is an input."""
    seen, waiting = set(), [output.get_node()]
    while waiting:
        node = waiting.pop()
        if node.get_type_name() == "Parameter":
            return False
        name = node.get_friendly_name()
        if name not in seen:
            seen.add(name)
            waiting += [node.input_value(each).get_node() for each in range(node.get_input_size())]
    return True


def _values(output: Any) -> Any:
    """The numbers of what is the same for every photo; int8 weights become floats."""
    from openvino import Model

    if output.get_node().get_type_name() == "Constant":
        return output.get_node().get_data().astype(np.float32)
    return np.array(core().compile_model(Model([output], []), "CPU")([])[0], np.float32)


def _size(output: Any) -> int:
    shape = output.get_partial_shape()
    return int(np.prod([each.get_length() for each in shape])) if shape.is_static else -1


def _places(output: Any) -> int:
    """H * W of N x C x H x W; 1 of anything else."""
    shape = output.get_partial_shape()
    if len(shape) != 4:
        return 1
    height, width = shape[2], shape[3]
    if not (height.is_static and width.is_static):
        return 1
    return int(height.get_length() * width.get_length())
