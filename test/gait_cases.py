"""A small model of gait whose networks are formulas, and the program of its container on cases."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from medvial.errors import InputError
from medvial.gait.config import Config
from medvial.gait.leg_agility.config import LegConfig
from medvial.models import ModelFolder
from medvial.outputs import read_json, write_json
from medvial.video_classification.config import ClipConfig
from medvial_rehearsal.project import algorithm_class

LABELS = ("non-ASD", "ASD")
WALKING = ClipConfig(
    labels=LABELS, positive="ASD", fps=15, clips=4, clip_frames=8, resize=40, crop=32
)
LEG = LegConfig(levels=(0, 1, 3))
VIDEO = ClipConfig(
    labels=("dark", "medium", "bright"), clips=2, clip_frames=4, clip_s=0.5, resize=40, crop=32
)


def brightness_network(path, classes, mean=0.45, std=0.225):
    """Logits k (b - 0.5) 8 of class k, of a clip whose mean brightness is b."""
    factors = np.arange(classes, dtype=np.float32)[None] * 8
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["m"], axes=[1, 2, 3, 4], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "axis"], ["column"]),
        helper.make_node("Mul", ["column", "std"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["b"]),
        helper.make_node("Mul", ["b", "factors"], ["output"]),
    ]
    constants = {
        "axis": np.array([1], np.int64),
        "std": np.float32([std]),
        "shift": np.float32([mean - 0.5]),
        "factors": factors,
    }
    _save(path, nodes, constants, 5, classes)


def taps_network(path, config):
    """The second level for every leg that is rated, whatever it sees."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "axis"], ["column"]),
        helper.make_node("Mul", ["column", "zeros"], ["nothing"]),
        helper.make_node("Add", ["nothing", "logits"], ["output"]),
    ]
    logits = np.where(np.arange(config.outputs) < 1, 3.0, -3.0).astype(np.float32)
    constants = {
        "axis": np.array([1], np.int64),
        "zeros": np.zeros((1, config.outputs), np.float32),
        "logits": logits[None],
    }
    _save(path, nodes, constants, 3, config.outputs)


def _save(path, nodes, constants, dimensions, outputs):
    shape = [f"d{k}" for k in range(dimensions)]
    graph = helper.make_graph(
        nodes,
        "formula",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["d0", outputs])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_gait_model(folder, *, walking=WALKING, leg_agility=LEG, phantom=True):
    """A model folder of the task gait; a system may be None."""
    folder.mkdir(parents=True)
    if walking:
        brightness_network(folder / "walking.onnx", len(walking.labels))
    if leg_agility:
        taps_network(folder / "leg_agility.onnx", leg_agility)
    learned = {"temperature": 1.0, "threshold": 0.5, "videos": 0}
    systems = {
        "walking": learned if walking else None,
        "leg_agility": {"temperature": 1.0} if leg_agility else None,
    }
    write_json(folder / "postprocess.json", systems)
    data = {"phantom": phantom, "description": "formulas"}
    config = Config(walking, leg_agility).as_dict()
    ModelFolder.seal(folder, task="gait", config=config, training={"data": data})
    return folder


def write_video_model(folder, config=VIDEO):
    """A model folder of the task video."""
    import dataclasses

    folder.mkdir(parents=True)
    brightness_network(folder / "model.onnx", len(config.labels))
    write_json(folder / "postprocess.json", {"temperature": 1.0, "threshold": 0.5, "videos": 0})
    ModelFolder.seal(folder, task="video", config=dataclasses.asdict(config))
    return folder


class Container:
    """The program of the gait container in this process."""

    def __init__(self, algorithm, model, folder):
        self.input, self.output = folder / "input", folder / "output"
        self.program = algorithm_class(algorithm)(
            input_path=self.input, output_path=self.output, model_path=model
        )
        self.program.load()

    def use(self, folder):
        """The same loaded program on another case."""
        self.input, self.output = folder / "input", folder / "output"
        self.program.input_path, self.program.output_path = self.input, self.output
        self.input.mkdir()
        return self

    def place(self, name):
        path = self.input / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def run(self):
        """Every output by its name without the ending."""
        self.program.run()
        return {path.stem: read_json(path) for path in self.output.glob("*.json")}

    def failure(self):
        """Why the case fails, which is one line; nothing is written then."""
        with pytest.raises(InputError) as caught:
            self.program.run()
        assert not any(p.is_file() for p in self.output.rglob("*"))
        assert "\n" not in str(caught.value)
        return str(caught.value)


def say_inputs(folder, *slugs):
    """The platform's inputs.json."""
    entries = [{"socket": {"slug": slug}} for slug in slugs]
    (folder / "inputs.json").write_text(json.dumps(entries))
