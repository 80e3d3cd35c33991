"""The hooks of evalutils' algorithm classes (0.4 and before), on today's sockets.

evalutils removed these classes in 0.5. A program written for them keeps its `predict` and names its
sockets; what the classes wrote to results.json now goes to the output that the challenge reads.
"""

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medvial.algorithm import Algorithm
from medvial.errors import InputError
from medvial.socket_kinds import SEGMENTATION
from medvial.sockets import Socket
from medvial.stacks import find_image_files

log = logging.getLogger(__name__)

MULTIPLE_POINTS = "Multiple points"


class ImageAlgorithm(Algorithm):
    """`predict(*, input_image)` for every image of the case's image input, then `save()`.

    `process()` is `load`, the images one after the other, `save`; results are in `_case_results`.
    """

    _case_results: list[Any]

    def load(self) -> None:
        """Load the model from `model_path`; nothing by default."""

    @abstractmethod
    def predict(self, *, input_image: Any) -> Any:  # type: ignore[override]
        """Compute the result of one image.

        Args:
            input_image: A `SimpleITK.Image`.
        """

    @abstractmethod
    def save(self) -> None:
        """Hand every output over; `_case_results` has the results in the order of the files."""

    def process_cases(self) -> None:
        """Run every image, in the order of the file names."""
        paths = self.image_files()
        self._case_results = []
        for index, path in enumerate(paths):
            self._case_results.append(self.process_case(idx=index, case={"path": path}))
            self.report_progress(index + 1, len(paths))

    def process_case(self, *, idx: int, case: Mapping[str, Any]) -> Any:
        """Read the image at `case["path"]` and predict it."""
        return self.predict(input_image=read_image(Path(case["path"])))

    def image_files(self) -> list[Path]:
        """The files of the first image input of the case's interface.

        Raises:
            InputError: There is no image input, or no image in it.
        """
        folders = [s for s in self.interface.inputs if s.kind_info.is_image]
        if not folders:
            raise InputError(
                "Expected an image input in sockets.json, got "
                f"{[s.kind for s in self.interface.inputs]}."
            )
        return find_image_files(self.input_path / folders[0].relative_path)

    def only_output(self, *, image: bool) -> Socket:
        """The one output of this interface that is an image, or that is JSON.

        Raises:
            InputError: There is none, or more than one: `save()` has to say which is meant.
        """
        found = [
            s
            for s in self.interface.outputs
            if (s.kind_info.is_image if image else s.kind_info.is_json)
        ]
        if len(found) != 1:
            raise InputError(
                f"Expected one {'image' if image else 'JSON'} output in sockets.json, got "
                f"{[s.slug for s in found]}. Write save() with write_output or file_output."
            )
        return found[0]

    def only_result(self) -> Any:
        """The result of the case's one image.

        Raises:
            InputError: The case has more than one image.
        """
        if len(self._case_results) != 1:
            raise InputError(
                f"Expected one image in the case, got {len(self._case_results)}. Write save()."
            )
        return self._case_results[0]


class SegmentationAlgorithm(ImageAlgorithm):
    """`predict` returns a mask as a `SimpleITK.Image`: whole numbers from 0 to 255 of any type.

    An output that is no Segmentation, such as a Heat Map, is written as it is.
    """

    def save(self) -> None:
        """Write the result to the image output, a Segmentation in unsigned 8 bit.

        Raises:
            InputError: A mask holds something else than whole numbers from 0 to 255.
        """
        import SimpleITK

        socket, image = self.only_output(image=True), self.only_result()
        if socket.kind == SEGMENTATION:
            values = SimpleITK.GetArrayViewFromImage(image)
            mask = SimpleITK.Cast(image, SimpleITK.sitkUInt8)
            if not (SimpleITK.GetArrayViewFromImage(mask) == values).all():
                raise InputError(
                    f"Expected whole numbers from 0 to 255 for the {SEGMENTATION} {socket.slug}, "
                    f"got values from {values.min():g} to {values.max():g}. Return labels, or make "
                    "the output a Heat Map in sockets.json."
                )
            image = mask
        SimpleITK.WriteImage(image, str(self.file_output(socket.slug)), True)


class DetectionAlgorithm(ImageAlgorithm):
    """`predict` returns candidates: a pandas table, or rows of coordX, coordY, coordZ, score.

    Coordinates are world millimetres (x, y, z), as `_serialize_candidates` makes them.
    """

    def save(self) -> None:
        """Write the candidates to the JSON output, as points if it is of that kind."""
        rows = _rows(self.only_result())
        socket = self.only_output(image=False)
        value: Any = candidate_points(rows) if socket.kind == MULTIPLE_POINTS else rows
        self.write_output(socket.slug, value)

    @staticmethod
    def _serialize_candidates(
        *,
        candidates: Iterable[Sequence[float]],
        candidate_scores: Sequence[Any],
        ref_image: Any,
    ) -> list[dict[str, Any]]:
        """Rows of array indices (z, y, x) and their scores, in world millimetres."""
        rows = []
        for index, score in zip(candidates, candidate_scores, strict=True):
            place = [float(value) for value in reversed(index)]
            world = ref_image.TransformContinuousIndexToPhysicalPoint(place)
            axes = zip("XYZ", world, strict=False)  # two for a flat image
            rows.append({**{f"coord{axis}": value for axis, value in axes}, "score": score})
        return rows


class ClassificationAlgorithm(ImageAlgorithm):
    """`predict` returns a dict, which is written as it is."""

    def save(self) -> None:
        """Write the result to the JSON output."""
        result = self.only_result()
        if not isinstance(result, dict):
            raise TypeError(f"Expected predict() to return a dict, got {type(result).__name__}")
        self.write_output(self.only_output(image=False).slug, result)


def candidate_points(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of coordX, coordY, coordZ, score as the platform's kind Multiple points.

    A score from 0 to 1 is the point's probability; another one has no place there.
    """
    points = []
    for number, row in enumerate(rows, start=1):
        # The platform shows points of a flat image at half a slice.
        place = [row["coordX"], row["coordY"], row.get("coordZ", 0.5)]
        point: dict[str, Any] = {"name": str(number), "point": place}
        score = row.get("score")
        if score is not None and 0 <= score <= 1:
            point["probability"] = score
        points.append(point)
    return {"type": MULTIPLE_POINTS, "points": points, "version": {"major": 1, "minor": 0}}


def read_image(path: Path) -> Any:
    """Read an image with SimpleITK.

    Raises:
        InputError: SimpleITK cannot read it.
    """
    import SimpleITK

    try:
        return SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{path}: expected an image that SimpleITK reads, got: {reason}") from None


def _rows(candidates: Any) -> list[dict[str, Any]]:
    """A pandas table, or rows already, as rows."""
    if hasattr(candidates, "to_dict"):
        records: list[dict[str, Any]] = candidates.to_dict("records")
        return records
    return [dict(row) for row in candidates]
