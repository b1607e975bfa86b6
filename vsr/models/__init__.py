"""Networks and their shipped weights. The module here that imports torch is `fsrcnn`; the others do not."""
