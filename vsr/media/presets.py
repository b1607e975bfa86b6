"""Quality and speed of all encoders, in x264's words; known without loading any of them."""

DEFAULT_CRF = 18.0
DEFAULT_PRESET = "veryfast"
PRESETS = ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"]
