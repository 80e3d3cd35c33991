"""Classes of videos of any kind: folders of frames or files, sorted, listed or annotated."""
