"""What the papers published, what VSR measures beside it, and the papers' figures from VSR's own weights."""
