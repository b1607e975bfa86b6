"""The numbers that the papers published, each once, with where it stands.

[E14] Dong, Loy, He, Tang: Learning a Deep Convolutional Network for Image Super-Resolution, ECCV 2014.
[P16] Dong, Loy, He, Tang: Image Super-Resolution Using Deep Convolutional Networks, TPAMI 2016.
[F16] Dong, Loy, Tang: Accelerating the Super-Resolution Convolutional Neural Network, ECCV 2016.

A (set, scale) is a cell's row. PSNR is of luma, in dB; times are in seconds a picture, on the papers' own machines.
"""

from __future__ import annotations

from typing import NamedTuple

Row = tuple[str, int]
ROWS: tuple[Row, ...] = tuple((folder, scale) for scale in (2, 3, 4) for folder in ("Set5", "Set14", "BSD200"))


def _rows(*values: float | None) -> dict[Row, float]:
    """By ROWS; None is a cell that is empty."""
    return {row: value for row, value in zip(ROWS, values, strict=True) if value is not None}


class Scores(NamedTuple):
    """An average: PSNR, SSIM, and the information fidelity criterion, which VSR does not measure."""

    psnr: float
    ssim: float
    ifc: float


def _scores(text: str) -> dict[Row, Scores]:
    """By ROWS, from PSNR/SSIM/IFC as the papers print them."""
    return {row: Scores(*map(float, cell.split("/"))) for row, cell in zip(ROWS, text.split(), strict=True)}


# PSNR of networks trained on the 91 images alone [F16, table 3].
PSNR_91 = {
    "SRCNN": _rows(36.33, 32.15, 31.34, 32.45, 29.01, 28.27, 30.15, 27.21, 26.72),
    "SRCNN-Ex": _rows(36.67, 32.35, 31.53, 32.83, 29.26, 28.47, 30.45, 27.44, 26.88),
    "SCN": _rows(36.76, None, None, None, None, None, None, None, None),
    "FSRCNN-s": _rows(36.53, 32.22, 31.44, 32.55, 29.08, 28.32, 30.04, 27.12, 26.73),
    "FSRCNN": _rows(36.94, 32.54, 31.73, 33.06, 29.37, 28.55, 30.55, 27.50, 26.92),
}
# Their times, C++ on an Intel i7 of 4.0 GHz [F16, table 3].
SECONDS = {
    "SRCNN": _rows(0.18, 0.39, 0.23, 0.18, 0.39, 0.23, 0.18, 0.39, 0.23),
    "FSRCNN-s": _rows(0.024, 0.061, 0.033, 0.010, 0.023, 0.013, 0.0052, 0.0099, 0.0072),
    "FSRCNN": _rows(0.068, 0.16, 0.098, 0.027, 0.061, 0.035, 0.015, 0.029, 0.019),
}
# The best of each, whatever it was trained on: FSRCNN and FSRCNN-s on the 91 images and General-100, SRCNN and
# SRCNN-Ex on ImageNet [F16, tables 4 to 6].
BEST = {
    "bicubic": _scores("33.66/0.9299/6.10 30.23/0.8687/6.09 29.70/0.8625/5.70 30.39/0.9299/6.10 27.54/0.7736/3.41 "
                       "27.26/0.7638/3.19 28.42/0.8104/2.35 26.00/0.7019/2.23 25.97/0.6949/2.04"),
    "KK": _scores("36.20/0.9511/6.87 32.11/0.9026/6.83 31.30/0.9000/6.26 32.28/0.9033/4.14 28.94/0.8132/3.83 "
                  "28.19/0.8016/3.49 30.03/0.8541/2.81 27.14/0.7419/2.57 26.68/0.7282/2.22"),
    "ANR": _scores("35.83/0.9499/8.09 31.80/0.9004/7.81 31.02/0.8968/7.27 31.92/0.8968/4.52 28.65/0.8093/4.23 "
                   "28.02/0.7981/3.91 29.69/0.8419/3.02 26.85/0.7353/2.78 26.56/0.7253/2.51"),
    "A+": _scores("36.55/0.9544/8.48 32.28/0.9056/8.11 31.44/0.9031/7.49 32.59/0.9088/4.84 29.13/0.8188/4.45 "
                  "28.36/0.8078/4.07 30.28/0.8603/3.26 27.32/0.7471/2.74 26.83/0.7359/2.62"),
    "SRF": _scores("36.87/0.9556/8.63 32.51/0.9074/8.22 31.65/0.9053/7.60 32.71/0.9098/4.90 29.23/0.8206/4.49 "
                   "28.45/0.8095/4.11 30.35/0.8600/3.26 27.41/0.7497/2.94 26.89/0.7368/2.62"),
    "SRCNN": _scores("36.34/0.9521/7.54 32.18/0.9039/7.22 31.38/0.9287/6.80 32.39/0.9033/4.25 29.00/0.8145/3.96 "
                     "28.28/0.8038/3.67 30.09/0.8530/2.86 27.20/0.7413/2.60 26.73/0.7291/2.37"),
    "SRCNN-Ex": _scores("36.66/0.9542/8.05 32.45/0.9067/7.76 31.63/0.9044/7.26 32.75/0.9090/4.58 29.30/0.8215/4.26 "
                        "28.48/0.8102/3.92 30.49/0.8628/3.01 27.50/0.7513/2.74 26.92/0.7376/2.46"),
    "SCN": _scores("36.76/0.9545/7.32 32.48/0.9067/7.00 31.63/0.9048/6.45 33.04/0.9136/4.37 29.37/0.8226/3.99 "
                   "28.54/0.8119/3.59 30.82/0.8728/3.07 27.62/0.7571/2.71 27.02/0.7434/2.38"),
    "FSRCNN-s": _scores("36.58/0.9532/7.75 32.28/0.9052/7.47 31.48/0.9027/7.01 32.54/0.9055/4.56 29.08/0.8167/4.24 "
                        "28.32/0.8058/3.96 30.11/0.8499/2.76 27.19/0.7423/2.55 26.75/0.7312/2.32"),
    "FSRCNN": _scores("37.00/0.9558/8.06 32.63/0.9088/7.71 31.80/0.9074/7.25 33.16/0.9140/4.88 29.43/0.8242/4.47 "
                      "28.60/0.8137/4.11 30.71/0.8657/3.01 27.59/0.7535/2.70 26.98/0.7398/2.41"),
}
# SSIM and IFC that cannot be what was measured: those of x2 in the row of x3; one above all better methods'.
MISPRINTS = {("bicubic", ("Set5", 3)), ("SRCNN", ("BSD200", 2))}

# PSNR of each picture: bicubic's, SRCNN's (9-1-5, the 91 images) [E14, tables 1 and 2].
PICTURES = {
    ("Set5", 2): {"baby": (37.07, 38.30), "bird": (36.81, 40.64), "butterfly": (27.43, 32.20), "head": (34.86, 35.64),
                  "woman": (32.14, 34.94)},
    ("Set5", 3): {"baby": (33.91, 35.01), "bird": (32.58, 34.91), "butterfly": (24.04, 27.58), "head": (32.88, 33.55),
                  "woman": (28.56, 30.92)},
    ("Set5", 4): {"baby": (31.78, 32.98), "bird": (30.18, 31.98), "butterfly": (22.10, 25.07), "head": (31.59, 32.19),
                  "woman": (26.46, 28.21)},
    ("Set14", 3): {"baboon": (23.21, 23.60), "barbara": (26.25, 26.66), "bridge": (24.40, 25.07),
                   "coastguard": (26.55, 27.20), "comic": (23.12, 24.39), "face": (32.82, 33.58),
                   "flowers": (27.23, 28.97), "foreman": (31.18, 33.35), "lenna": (31.68, 33.39), "man": (27.01, 28.18),
                   "monarch": (29.43, 32.39), "pepper": (32.39, 34.35), "ppt3": (23.71, 26.02),
                   "zebra": (26.63, 28.87)},
}
# The pictures of [F16, figures 7 and 8], at x3.
FIGURES = {
    ("Set14", "lenna"): {"SRCNN": 33.39, "SRCNN-Ex": 33.67, "FSRCNN-s": 33.43, "FSRCNN": 33.85},
    ("Set5", "butterfly"): {"SRCNN": 27.58, "SRCNN-Ex": 27.95, "FSRCNN-s": 27.73, "FSRCNN": 28.68},
}
# PSNR and seconds of others on Set14 at x3, MATLAB on an Intel CPU of 3.10 GHz, SRCNN in C++ [E14, table 2].
OTHERS = {"SC": (28.31, 84.88), "K-SVD": (28.67, 2.95), "NE+NNLS": (28.44, 25.87), "NE+LLE": (28.60, 5.35),
          "ANR": (28.65, 0.97), "SRCNN": (29.00, 0.39)}
REAL_TIME = 24.7  # frames a second of FSRCNN-s at x3 to 760x760 [F16, section 4.3]; SRCNN has 1.32


class Study(NamedTuple):
    """An experiment of the papers at x3: what it is, its PSNR on Set5, the recipe by which VSR repeats it, its source.

    Where a paper gives a difference, or says which is better, ``against`` is the recipe that it is taken from.
    """

    what: str
    psnr: float | None
    recipe: str
    source: str
    against: str | None = None
    difference: float | None = None


STUDIES = (
    Study("SRCNN 9-1-5, ImageNet", 32.52, "paper-srcnn-91_x3", "P16, 4.1"),
    Study("SRCNN 9-3-5, ImageNet", 32.66, "paper-srcnn-9-3-5-91_x3", "P16, 4.3.2"),
    Study("SRCNN 9-5-5, ImageNet", 32.75, "paper-srcnn-ex-91_x3", "P16, 4.3.2"),
    Study("SRCNN 11-1-7, ImageNet", 32.57, "paper-srcnn-11-1-7-91_x3", "P16, 4.3.2"),
    Study("SRCNN of 128 and 64 filters, ImageNet", 32.60, "paper-srcnn-wide-91_x3", "P16, table 1"),
    Study("SRCNN of 32 and 16 filters, ImageNet", 32.26, "paper-srcnn-narrow-91_x3", "P16, table 1"),
    *(Study(f"SRCNN {layers}: not better than {base}", None, f"paper-srcnn-{recipe}-91_x3", "P16, 4.3.3",
            f"paper-srcnn-{than}91_x3")
      for layers, base, recipe, than in (
          ("9-1-1-5 (n22 = 16)", "9-1-5", "9-1-1-5", ""), ("9-1-1-5 (n22 = 32)", "9-1-5", "9-1-1-5-wide", ""),
          ("9-1-1-1-5", "9-1-5", "9-1-1-1-5", ""), ("9-3-1-5", "9-3-5", "9-3-1-5", "9-3-5-"),
          ("9-5-1-5", "9-5-5", "9-5-1-5", "ex-"), ("9-3-3-5", "9-3-1-5", "9-3-3-5", "9-3-1-5-"),
          ("9-3-3-3", "9-3-1-5", "9-3-3-3", "9-3-1-5-"))),
    Study("SRCNN 9-5-5, a Gaussian blur: better than DNC", 32.08, "paper-srcnn-ex-91-blur_x3", "P16, 4.4.1"),
    Study("YCbCr: below bicubic (RGB)", None, "paper-srcnn-ycbcr_x3", "P16, table 5", "bicubic"),
    Study("Y pre-train: not better than Y only (RGB)", None, "paper-srcnn-y-pretrain_x3", "P16, table 5",
          "paper-srcnn-91_x3"),
    Study("CbCr pre-train: not better than Y only (RGB)", None, "paper-srcnn-cbcr-pretrain_x3", "P16, table 5",
          "paper-srcnn-91_x3"),
    Study("RGB: better than Y only (RGB)", None, "paper-srcnn-rgb_x3", "P16, table 5", "paper-srcnn-91_x3", 0.07),
    Study("transition 1", None, "paper-transition-1-91_x3", "F16, 3.3", "paper-srcnn-ex-91_x3", 0.12),
    Study("transition 2", 33.01, "paper-transition-2-91_x3", "F16, table 1"),
    Study("FSRCNN (56,12,4)", 33.06, "paper-fsrcnn-91_x3", "F16, table 1"),
    Study("no expanding layer", None, "paper-fsrcnn-no-expanding-91_x3", "F16, 3.2", "paper-fsrcnn-91_x3", -0.3),
    Study("bicubic kernels for the deconvolution", None, "paper-fsrcnn-bicubic-91_x3", "F16, 3.2", "paper-fsrcnn-91_x3",
          -0.9),
    Study("ReLU: not better than PReLU", None, "paper-fsrcnn-relu-91_x3", "F16, 3.2", "paper-fsrcnn-91_x3"),
    *(Study(f"FSRCNN ({d},{s},{m})", psnr, f"paper-fsrcnn-{d}-{s}-{m}-91_x3", "F16, table 2")
      for d, s, row in ((48, 12, (32.87, 32.88, 33.08)), (56, 12, (33.00, 32.97)), (48, 16, (32.95, 33.10, 33.18)),
                        (56, 16, (33.01, 33.12, 33.17)))
      for m, psnr in zip((2, 3, 4), row, strict=False)),
    Study("FSRCNN (56,12,4), the 91 images and then others", 33.16, "paper-fsrcnn-91-general100_x3", "F16, table 2"),
    Study("FSRCNN-s, the 91 images", 32.55, "paper-fsrcnn-s-91_x3", "F16, table 3"),
    Study("FSRCNN-s, the 91 images and then others", 32.54, "paper-fsrcnn-s-91-general100_x3", "F16, table 4"),
    Study("x2 from x3, the deconvolution alone: as from scratch", None, "paper-fsrcnn-91_x2", "F16, 4.4",
          "paper-fsrcnn-91-scratch_x2", 0.0),
)
# How many times fewer multiplications than SRCNN-Ex at x3, for how many weights [F16, table 1, section 3.3].
SPEEDUPS = {"srcnn-ex": (57_184, 1.0), "transition-1": (58_976, 8.7), "transition-2": (17_088, 30.1),
            "fsrcnn": (12_464, 41.3)}
# Weights [P16, section 4.3.2; F16, table 2, section 4.3].
PARAMETERS = {
    "srcnn-9-1-5": 8032, "srcnn-9-3-5": 24416, "fsrcnn-s": 3937,
    **{f"fsrcnn-{d}-{s}-{m}": count for d, s, counts in (
        (48, 12, (8832, 10128, 11424)), (56, 12, (9872, 11168, 12464)), (48, 16, (11232, 13536, 15840)),
        (56, 16, (12336, 14640, 16944))) for m, count in zip((2, 3, 4), counts, strict=True)},
    **{name: count for name, (count, _) in SPEEDUPS.items()},
}  # fmt: skip
