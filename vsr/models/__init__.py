"""Networks and their shipped weights. The modules here that import torch are `fsrcnn`; the catalogue does not."""
