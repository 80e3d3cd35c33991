"""Gate G: the platform's own client, and the readers that come after it."""

from medvial_rehearsal.client.panimg import panimg_check
from medvial_rehearsal.client.rehearsal import ClientRehearsal, run_gates
from medvial_rehearsal.client.session import JobLimits

__all__ = ["ClientRehearsal", "JobLimits", "panimg_check", "run_gates"]
