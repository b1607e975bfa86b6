"""Networks and their shipped weights. `fsrcnn` imports torch, and `convert` to read PyTorch's files."""
