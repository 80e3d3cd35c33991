"""The container gives real films the landmarks that the evaluation gives them."""

import csv
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic import engine_answers

from medvial.cldetection.predictor import Predictor
from medvial.metaimage_writer import ImageGeometry, MetaImageWriter
from medvial.outputs import read_json
from medvial_training.tasks.cldetection.dataset import load_config, load_samples
from medvial_training.tasks.cldetection.isbi2015 import convert
from medvial_training.tasks.cldetection.prepare import prepare

ROOT = Path(__file__).parent.parent
FILMS = ROOT.parent / "shared" / "data" / "isbi2015"
MODEL = ROOT / "algorithms" / "cldetection" / "model"
CLOSE_PX = 0.1  # 0.01 mm on these films

pytestmark = [
    pytest.mark.docker,
    pytest.mark.data,
    pytest.mark.skipif(not engine_answers(), reason="no Docker engine answers"),
    pytest.mark.skipif(not FILMS.is_dir(), reason="the ISBI films are not beside the project"),
]


@pytest.fixture
def films(tmp_path):
    """A folder with six films and their table, as the converter writes it."""
    convert(FILMS, tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    rows = [row for row in rows if row[0][:3] in ("151", "152", "153", "154", "002", "003")]
    with (tmp_path / "some.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return tmp_path / "some.csv"


def write_stack(path, names):
    """Films as the challenge stacks them: RGB, zero-padded at the bottom and right."""
    path.parent.mkdir(parents=True)
    geometry = ImageGeometry((2880, 2400, len(names)))
    with MetaImageWriter(path, geometry, channels=3, level=1) as writer:
        for name in names:
            film = cv2.imread(str(FILMS / "images" / f"{name}.jpg"))[:, :, ::-1]
            padded = np.zeros((2400, 2880, 3), np.uint8)
            padded[: film.shape[0], : film.shape[1]] = film
            writer.write(padded)


def in_container(case):
    """The points of a case's images, (N, L, 2), from the real image."""
    subprocess.run([ROOT / "build.sh", "cldetection"], check=True, capture_output=True)
    (case / "output").mkdir()
    (case / "output").chmod(0o777)
    subprocess.run(["chmod", "-R", "a+rX", case, case.parent], check=True)
    command = ["docker", "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp"]
    command += ["--volume", f"{case / 'input'}:/input:ro", "--volume", f"{case / 'output'}:/output"]
    command += ["--volume", f"{MODEL}:/opt/ml/model:ro", "medvial-cldetection:latest"]
    subprocess.run(command, check=True, capture_output=True)
    points = read_json(case / "output" / "orthodontic-landmarks.json")["points"]
    count = points[-1]["point"][2]
    return np.array([p["point"][:2] for p in points]).reshape(count, -1, 2)


def test_container_and_evaluation_agree_on_real_films(films, tmp_path):
    predictor = Predictor(MODEL)
    data = tmp_path / "data"
    # the films have 19 of the model's 38 landmarks marked
    prepare(FILMS / "images", data, films, model=replace(predictor.config, landmark_set="isbi-19"))
    config = load_config(data)
    samples = [s for split in load_samples(data, config).values() for s in split]
    evaluated = [
        predictor.from_prepared(s.read(predictor.config), s.geometry).points for s in samples
    ]
    case = tmp_path / "case"
    stack = case / "input" / "images" / "lateral-dental-x-rays" / "stack.mha"
    write_stack(stack, [s.image_id for s in samples])
    got = in_container(case)
    assert len(got) == len(samples) == 6
    assert np.abs(got - np.stack(evaluated)).max() < CLOSE_PX
