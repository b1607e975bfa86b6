"""Networks and their shipped weights. `fsrcnn` imports torch, and `convert` to read PyTorch's files."""

DEFAULT_MODEL = "fsrcnn-s-video"  # of videos and pictures; what is measured and exported by default is fsrcnn-s
