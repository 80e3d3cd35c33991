"""Reading, checking and writing what is uploaded: image archives and model tarballs.

Nothing here needs a Docker engine. Archives are read once from front to back, and never held.
"""
