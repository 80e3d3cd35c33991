"""The kinematic model: a random forest on quantities and criteria, as an ONNX file."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.gait.leg_agility.config import LegConfig
from medvial.gait.leg_agility.inputs import Input
from medvial.outputs import write_bytes
from medvial_training.onnx_export import OPSET
from medvial_training.tasks.gait.leg_agility.choices import LegTraining
from medvial_training.tasks.gait.leg_agility.ordinal import level_weights

log = logging.getLogger(__name__)

OPSETS = {"": OPSET, "ai.onnx.ml": 3}  # read by every ONNX Runtime since 1.12
TOLERANCE = 1e-3  # of a probability, between ONNX Runtime and scikit-learn
SPLITS = 0.5  # share of the quantities that a split may choose from


def fit_forest(
    values: Input, targets: NDArray[np.int64], config: LegConfig, training: LegTraining, seed: int
) -> Any:
    """A forest whose leaves hold the share of legs that exceed each level but the last.

    One forest for all limits (Frank and Hall, ECML 2001, with one model): the shares of a leaf
    fall from limit to limit, and so do their means over the trees. Missing quantities are below
    all others, which a split can tell.

    Args:
        values: (N, Q) of `inputs.quantities`.
        targets: (N,) places in `config.levels`.
        config: Gives the levels.
        training: Trees, leaves and balance.
        seed: Of the forest.

    Returns:
        scikit-learn's RandomForestRegressor, with `outputs` outputs.
    """
    from sklearn.ensemble import RandomForestRegressor  # late: it takes seconds

    above = targets[:, None] > np.arange(config.outputs)
    forest = RandomForestRegressor(
        training.trees,
        min_samples_leaf=training.least_leaf,
        max_features=SPLITS,
        random_state=seed,
    )
    weights = level_weights(targets, config, training.balance)[targets]
    answers = above.astype(np.float64)
    return forest.fit(values, answers if config.outputs > 1 else answers[:, 0], weights)


def train_forest(
    values: Input,
    targets: NDArray[np.int64],
    config: LegConfig,
    training: LegTraining,
    seed: int,
    path: Path,
) -> None:
    """Fit a forest, or one a leg, and write it as ONNX: (N, Q) to (N, outputs) probabilities.

    Args:
        values: (N, ...) of `inputs.input_shape`.
        targets: (N,) places in `config.levels`.
        config: Says whether there is one for both legs.
        training: Trees, leaves and balance.
        seed: Of the forest.
        path: The ONNX file to write; the container needs neither scikit-learn nor a pickle.

    Raises:
        InputError: A leg has no samples, or ONNX Runtime and scikit-learn disagree.
    """
    if config.one_network_for_both:
        forests = [fit_forest(values, targets, config, training, seed)]
        expected = _predict(forests[0], values)
        network = _as_onnx(forests[0], values.shape[1])
    else:
        forests = []
        expected = np.zeros((len(values), config.outputs))
        for place, leg in enumerate(("left", "right")):
            mine = values[:, -1] == place
            if not mine.any():
                raise InputError(f"Expected scored {leg} legs to train on, got none.")
            forests.append(fit_forest(values[mine, :-1], targets[mine], config, training, seed))
            expected[mine] = _predict(forests[place], values[mine, :-1])
        network = _per_leg(*(_as_onnx(forest, values.shape[1] - 1) for forest in forests))
    _check_parity(network, values, expected)
    write_bytes(path, network.SerializeToString())


def _predict(forest: Any, values: Input) -> NDArray[np.float64]:
    """(N, outputs)."""
    return np.asarray(forest.predict(values)).reshape(len(values), -1)


def _as_onnx(forest: Any, quantities: int) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    return convert_sklearn(
        forest,
        initial_types=[("input", FloatTensorType([None, quantities]))],
        final_types=[("output", FloatTensorType([None, None]))],
        target_opset=OPSETS,
    )


def _per_leg(left: onnx.ModelProto, right: onnx.ModelProto) -> onnx.ModelProto:
    """One network of two: the last number of the input says whose output is given."""
    helper = onnx.helper
    parts = [onnx.compose.add_prefix(left, "left_"), onnx.compose.add_prefix(right, "right_")]
    places = {"first": 0, "last": -1, "end": np.iinfo(np.int64).max, "axis": 1}
    constants = [
        helper.make_tensor(name, onnx.TensorProto.INT64, [1], [value])
        for name, value in places.items()
    ]
    half = helper.make_tensor("half", onnx.TensorProto.FLOAT, [1], [0.5])
    nodes = [
        helper.make_node("Slice", ["input", "first", "last", "axis"], ["quantities"]),
        helper.make_node("Slice", ["input", "last", "end", "axis"], ["leg"]),
        helper.make_node("Greater", ["leg", "half"], ["is_right"]),
        *(
            helper.make_node("Identity", ["quantities"], [part.graph.input[0].name])
            for part in parts
        ),
        *(node for part in parts for node in part.graph.node),
        helper.make_node(
            "Where",
            ["is_right", parts[1].graph.output[0].name, parts[0].graph.output[0].name],
            ["output"],
        ),
    ]
    width = left.graph.input[0].type.tensor_type.shape.dim[1].dim_value + 1
    graph = helper.make_graph(
        nodes,
        "leg_agility",
        [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [None, None])],
        [*constants, half, *(value for part in parts for value in part.graph.initializer)],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    network = helper.make_model(graph, opset_imports=opsets)
    network.ir_version = left.ir_version
    return network


def _check_parity(network: onnx.ModelProto, values: Input, expected: NDArray[np.float64]) -> None:
    onnx.checker.check_model(network)
    session = onnxruntime.InferenceSession(
        network.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    got = session.run(None, {"input": values})[0]
    difference = float(np.abs(got - expected).max())
    log.info("ONNX parity: largest difference %.2g (at most %.2g)", difference, TOLERANCE)
    if not difference <= TOLERANCE:
        raise InputError(
            f"Expected ONNX Runtime and scikit-learn to agree within {TOLERANCE:g}, got a "
            f"difference of {difference:.3g}."
        )
