"""Which column of a table names the patient, and how names are compared."""

import unicodedata
from collections.abc import Iterable

PATIENT_COLUMNS = ("patient", "patientid", "subject", "subjectid", "pid", "mrn")
"""The first that is there counts; in any letters, with blanks, `_` and `-` or without."""


def patient_column(header: Iterable[str]) -> str | None:
    """The column that names the patient, as the header spells it; None where none does.

    Args:
        header: Names of the columns: `Patient ID`, `PATIENT_ID` and `patient-id` are the same.
    """
    columns = {"".join(filter(str.isalnum, name.casefold())): name for name in header}
    return next((columns[key] for key in PATIENT_COLUMNS if key in columns), None)


def name_key(name: str) -> str:
    """A name as it is compared: Unicode NFKC, without case, blanks and invisible characters."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", str(name)).casefold())
    return "".join(c for c in folded if not c.isspace() and unicodedata.category(c) != "Cf")
