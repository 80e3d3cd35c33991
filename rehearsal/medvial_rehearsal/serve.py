"""Serve an algorithm on this machine as its `invoke` container does."""

from pathlib import Path

from medvial.program import run_program
from medvial.server import PORT
from medvial.server import serve as serve_algorithm
from medvial_rehearsal.project import algorithm_class, algorithm_folder


def serve(
    task: str,
    *,
    input: Path = Path("/input"),
    output: Path = Path("/output"),
    model: Path | None = None,
    port: int = PORT,
) -> int:
    """Serve a task over HTTP, as its container does with the method invoke.

    POST /invoke runs the case that is in the input folder then; GET /health is 200 once the model
    is loaded. Ctrl-C ends it.

    Args:
        task: Name of a task, or an algorithm folder.
        input: Folder of the case, looked at during a call only.
        output: Folder of the outputs.
        model: Model folder; the algorithm's own by default.
        port: Port to listen at.

    Returns:
        Exit code.
    """
    folder = algorithm_folder(task)
    algorithm = algorithm_class(folder)(
        input_path=input, output_path=output, model_path=model or folder / "model"
    )
    return run_program(
        lambda: serve_algorithm(algorithm, port=port), on_kill=algorithm.discard_outputs
    )
