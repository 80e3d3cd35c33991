"""Memory of the cldetection server over many cases, each compared with a container of its own.

    python benchmarks/invoke_memory.py [--cases 50]

Phantom films of the challenge's size, one a case, go to one process of medvial-cldetection:invoke
and, each alone, to medvial-cldetection:latest. Prints what the server held after each tenth case
and how much that grew. Fails if that is more than 5 %, or if any output differs.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import SimpleITK

from medvial.errors import InputError
from medvial.stacks import open_stack
from medvial_rehearsal.container.context import Rehearsal
from medvial_rehearsal.container.engine import need_engine
from medvial_rehearsal.container.outputs import differences, problems
from medvial_rehearsal.container.server import CREATED
from medvial_rehearsal.container.serving import Serving, StagedCase
from medvial_rehearsal.container.staging import stage_case
from medvial_rehearsal.project import algorithm_folder, cases
from medvial_training.phantoms.cldetection import write_phantoms

TASK = "cldetection"
FOLDER = "images/lateral-dental-x-rays"
WARM = 5  # cases until caches and allocators have what they keep
LIMIT = 1.05  # of the memory held after those


def make_cases(context: Rehearsal, count: int) -> list[StagedCase]:
    """One film a case, laid out as the platform does."""
    raw = context.work / "raw"
    write_phantoms(raw, count=count)
    result = []
    with open_stack(raw / "train_stack.mha") as stack:
        for number, film in enumerate(stack, start=1):
            source = context.work / f"source-{number}" / FOLDER
            source.mkdir(parents=True)
            assert not isinstance(film, InputError)
            image = SimpleITK.GetImageFromArray(film[None], isVector=True)  # (z, y, x, C)
            SimpleITK.WriteImage(image, str(source / "film.mha"), True)
            staged = context.work / f"case-{number}"
            stage_case(source.parents[1], staged, context.interface)
            result.append(StagedCase(str(number), staged, context.interface))
    return result


def measure(context: Rehearsal, count: int) -> list[int]:
    """Bytes that the server held after each case.

    Raises:
        SystemExit: A case failed, or differs from its own run.
    """
    staged = make_cases(context, count)
    serving = Serving(context)
    held = []
    try:
        for number, case in enumerate(staged, start=1):
            answer = serving.answer(case)
            passed, output = serving.alone(case)
            wrong = problems(case.interface, answer.output) or differences(
                case.interface, output, answer.output, {}
            )
            if not passed or answer.reply.status != CREATED or wrong:
                raise SystemExit(f"case {number}: {answer.reply}, alone {passed}, {wrong[:3]}")
            held.append(answer.memory or 0)
            if number == WARM or number % 10 == 0:
                print(f"after {number:3d} cases: {held[-1] / 1e6:7.1f} MB", flush=True)
    finally:
        serving.close()
    return held


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=50)
    count = parser.parse_args().cases
    logging.basicConfig(level=logging.ERROR)
    need_engine()
    algorithm = algorithm_folder(TASK)
    with tempfile.TemporaryDirectory() as work:
        Path(work).chmod(0o755)
        held = measure(
            Rehearsal(
                TASK,
                f"medvial-{TASK}:latest",
                f"medvial-{TASK}:invoke",
                algorithm=algorithm,
                cases=tuple(cases(algorithm)),
                model=algorithm / "model",
                work=Path(work),
            ),
            count,
        )
    growth = max(held[WARM:]) / max(held[:WARM])
    print(f"most held after case {WARM} to the most until then: {growth:.3f}")
    print(f"{count} cases equal to their own runs")
    if growth > LIMIT:
        raise SystemExit(f"expected at most {LIMIT}, got {growth:.3f}")


if __name__ == "__main__":
    main()
