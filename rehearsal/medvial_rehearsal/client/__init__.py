"""Gate G: the platform's own client, and the readers that come after it."""

from medvial_rehearsal.client.panimg import panimg_check
from medvial_rehearsal.client.rehearsal import ClientRehearsal, run_gates

__all__ = ["ClientRehearsal", "panimg_check", "run_gates"]
