"""Which gates there are, and which a rehearsal asks."""

from collections.abc import Callable, Iterable
from typing import Any

from medvial.errors import InputError
from medvial_rehearsal.container import (
    failure_gates,
    output_gates,
    run_gates,
    server_gates,
    variant_gates,
)
from medvial_rehearsal.container.cuda_gate import cuda_build
from medvial_rehearsal.gates import Outcome

Check = Callable[[Any], Outcome]

CASE: dict[str, Check] = {
    "C1": run_gates.exit_code,
    "C2": run_gates.only_declared,
    "C3": run_gates.silent,
    "C4": run_gates.readable_logs,
    "C5": run_gates.in_time,
    "C6": run_gates.in_memory,
    "C7": run_gates.same_twice,
    "C9": run_gates.small_shared_memory,
    "C10": variant_gates.any_name_and_format,
    "C11": variant_gates.linked_input,
    "C12": run_gates.unwritable_root,
    "C13": run_gates.no_network,
    "C14": variant_gates.all_generations,
    "C15": variant_gates.expected_outputs,
    "C8": run_gates.inputs_unchanged,
    "D1": output_gates.json_is_strict,
    "D2": output_gates.valid,
    "D3": output_gates.images_readable,
    "D7": output_gates.geometry_kept,
    "B6": failure_gates.bad_model,
    "E1": failure_gates.no_inputs,
    "E2": failure_gates.unknown_inputs,
    "E3": failure_gates.wrong_number,
    "E4": failure_gates.cut_off,
    "E5": failure_gates.few_frames,
    "E6": failure_gates.unknown_codec,
    "E7": failure_gates.all_black,
    "E8": failure_gates.other_pixels,
    "E9": failure_gates.no_room,
    "E10": failure_gates.stops,
    "H1": cuda_build,
}
"""Of single cases, each in a container of its own. C8 looks at all runs before it."""

SERVER: dict[str, Check] = {
    "F1": server_gates.label,
    "F2": server_gates.listens,
    "F3": server_gates.health,
    "F4": server_gates.empty_at_start,
    "F10": server_gates.loaded_once,
    "F5": server_gates.created,
    "F6": server_gates.no_state,
    "F8": server_gates.silent,
    "F9": server_gates.not_mixed,
    "F11": server_gates.memory,
    "F7": server_gates.recovers,
}
"""In the order in which one server is asked."""

_LONGER = {"C10", "C11", "C14", "B6", *(f"E{i}" for i in range(1, 11))}
_LONGER_SERVER = {"F6", "F7", "F9", "F11"}


def choose(*, quick: bool, server: bool, only: Iterable[str]) -> tuple[list[Check], list[Check]]:
    """The gates of single cases and of a server, in the order to ask them.

    Args:
        quick: Leave out what needs more than the main case, run twice.
        server: Whether the quick form asks a server too; the whole always does.
        only: Names of gates; all where empty.

    Raises:
        InputError: There is no gate of such a name.
    """
    names = {name.upper() for name in only}
    unknown = sorted(names - {*CASE, *SERVER})
    if unknown:
        known = ", ".join((*CASE, *SERVER))
        raise InputError(f"Expected gates of {known}; got {', '.join(unknown)}.")

    def wanted(name: str, longer: set[str], needed: bool) -> bool:
        return name in names if names else needed and not (quick and name in longer)

    return (
        [check for name, check in CASE.items() if wanted(name, _LONGER, True)],
        [
            check
            for name, check in SERVER.items()
            if wanted(name, _LONGER_SERVER, server or not quick)
        ],
    )
