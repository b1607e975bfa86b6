"""VSR's window: what super-resolution does to a video, seen while it plays, and the work done on files."""
