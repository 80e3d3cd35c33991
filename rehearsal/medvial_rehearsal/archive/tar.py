"""The standard library's tarfile; its backport on Python before 3.11.4, which lacks the filters.

Debian 12 has such a Python. Where both could be had, the standard library's is the one that is
kept safe.
"""

import tarfile

if not hasattr(tarfile, "data_filter"):
    from backports import tarfile  # type: ignore[import-untyped, no-redef, unused-ignore]

__all__ = ["tarfile"]
