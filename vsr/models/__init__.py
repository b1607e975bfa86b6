"""Networks and their shipped weights. `fsrcnn` imports torch, and `convert` to read PyTorch's files."""

DEFAULT_MODEL = "fsrcnn-s"  # of videos and pictures
