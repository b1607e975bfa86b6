"""The published numbers, and the page and figures that set VSR's beside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_networks import random_net

from vsr.cli import main
from vsr.models.catalogue import SCALES, catalogue, save_file
from vsr.models.fsrcnn import Net
from vsr.models.networks import NETWORKS
from vsr.papers import published
from vsr.papers.report import Measured, cards, compared, difference, measure, report
from vsr.training.recipes import PAPER_RECIPES

PAGE = Path(__file__).parents[1] / "PAPERS.md"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a test set of two pictures, by the names that the papers' have."""
    root = tmp_path_factory.mktemp("data")
    (root / "test" / "Set5").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("baby_GT", "butterfly_GT"):
        noise = cv2.GaussianBlur(rng.uniform(0, 255, (60, 48)), (0, 0), 2)
        cv2.imwrite(str(root / "test" / "Set5" / f"{name}.png"), np.clip(4 * noise - 380, 16, 235).astype(np.uint8))
    return root


@pytest.fixture(scope="module")
def measured(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """With weights of FSRCNN-s, which ship, and of SRCNN at x3, which `vsr train` would have made."""
    runs = tmp_path_factory.mktemp("runs")
    save_file(runs / "srcnn-9-1-5_x3.safetensors", random_net(NETWORKS["srcnn-9-1-5"], 3).to_weights("srcnn-9-1-5"))
    return measure(small, runs)


@pytest.mark.parametrize("row", published.PICTURES)
def test_pictures_make_their_sets_average(row: published.Row) -> None:
    """What was read off the papers' tables is what they averaged."""
    bicubic, srcnn = np.mean(list(published.PICTURES[row].values()), 0)
    assert bicubic == pytest.approx(published.BEST["bicubic"][row].psnr, abs=0.011)
    assert srcnn == pytest.approx(published.BEST["SRCNN"][row].psnr, abs=0.011)
    if row == ("Set14", 3):
        assert srcnn == pytest.approx(published.OTHERS["SRCNN"][0], abs=0.011)


def test_better_networks_and_smaller_scales_have_better_numbers() -> None:
    """A misread cell would stand out."""
    for found in (published.PSNR_91, {name: {row: s.psnr for row, s in cells.items()}
                                      for name, cells in published.BEST.items()}):
        for row in published.ROWS:
            assert found["SRCNN"][row] < found["SRCNN-Ex"][row] < found["FSRCNN"][row]
            assert found["FSRCNN-s"][row] < found["FSRCNN"][row]
        for name, cells in found.items():
            for folder in ("Set5", "Set14", "BSD200"):
                by_scale = [cells[folder, scale] for scale in SCALES if (folder, scale) in cells]
                assert by_scale == sorted(by_scale, reverse=True), name
    for name, cells in published.BEST.items():
        for row, found in cells.items():
            bicubic = published.BEST["bicubic"][row]
            if name != "bicubic" and ("bicubic", row) not in published.MISPRINTS:
                assert bicubic.psnr < found.psnr and bicubic.ssim < found.ssim and bicubic.ifc < found.ifc
    for row in published.ROWS:
        assert published.SECONDS["FSRCNN-s"][row] < published.SECONDS["FSRCNN"][row] < published.SECONDS["SRCNN"][row]


def test_every_study_has_its_recipe() -> None:
    for study in published.STUDIES:
        assert study.recipe in PAPER_RECIPES
        assert study.against in (None, "bicubic", *PAPER_RECIPES)
        assert (study.psnr is None) or (study.difference is None and study.against is None)
    assert len({(study.what, study.recipe) for study in published.STUDIES}) == len(published.STUDIES)


def test_numbers_are_compared_as_they_are_printed() -> None:
    assert compared(32.5361, 32.54) == "32.54 ≥ 32.54" and compared(32.534, 32.54) == "32.53 < 32.54"
    assert compared(None, 32.54) == "– / 32.54" and compared(30.0, None) == "30.00" and compared(None, None) == "–"
    assert compared(0.90551, 0.9055, ".4f") == "0.9055 ≥ 0.9055"


def test_the_page_holds_what_was_measured_and_a_dash_for_the_rest(measured: Measured) -> None:
    page = report(measured, {})
    assert all(f"\n## {title}" in page for title in ("PSNR in dB, the best", "SSIM", "Picture by picture", "Time",
                                                     "Weights", "Design studies"))
    for scale in SCALES:
        ours, bicubic = (measured.average(("Set5", scale), name, "psnr") for name in ("FSRCNN-s", "bicubic"))
        assert ours is not None and bicubic is not None
        best = published.BEST["FSRCNN-s"]["Set5", scale].psnr
        row = next(line for line in page.splitlines() if line.startswith(f"| Set5 | {scale} |"))
        assert f"| {compared(ours, best)} |" in row and f"| {bicubic:.2f} " in row
        srcnn = measured.average(("Set5", scale), "SRCNN", "psnr")
        assert (srcnn is None) == (scale != 3)
        assert f"| {compared(srcnn, published.BEST['SRCNN']['Set5', scale].psnr)} |" in row
        score = measured.scores["Set5", scale][1]["FSRCNN-s"]
        picture = next(line for line in page.splitlines() if line.startswith(f"| butterfly | Set5 | {scale} |"))
        assert f"| {score.psnr:.2f}" in picture
    assert "Set14 |" not in page and "≠" not in page and "– / 32.87 |" in page
    assert set(measured.seconds) >= {(("Set5", scale), "FSRCNN-s") for scale in SCALES} and measured.fps > 0


def test_studies_are_taken_from_the_cards_of_trainings(measured: Measured, tmp_path: Path) -> None:
    def write(recipe: str, **scores: float) -> None:
        card = {"recipe": {"batch": 128}, "iterations": 625_000, "scores": {"Set5": scores}, "scale": 3}
        (tmp_path / f"{recipe}.json").write_text(json.dumps(card))

    write("paper-fsrcnn-91_x3", psnr=33.10)
    write("paper-fsrcnn-no-expanding-91_x3", psnr=32.9)
    write("paper-srcnn-ycbcr_x3", rgb=33.0, bicubic_rgb=34.5)
    trained = cards(tmp_path)
    assert trained.keys() >= {"paper-fsrcnn-91_x3", "fsrcnn-s_x3"}  # those that ship, too
    lines = {line.split(" | ")[2]: line for line in report(measured, trained).splitlines() if " | paper-" in line}
    assert "| 33.10 ≥ 33.06 | paper-fsrcnn-91_x3 | F16, table 1 | 0.1 |" in lines["paper-fsrcnn-91_x3"]
    assert "| -0.20 / -0.30 |" in lines["paper-fsrcnn-no-expanding-91_x3"]
    assert "| -1.50 |" in lines["paper-srcnn-ycbcr_x3"] and "| – / +0.07 |" in lines["paper-srcnn-rgb_x3"]
    study = next(study for study in published.STUDIES if study.recipe == "paper-fsrcnn-relu-91_x3")
    assert difference(study, trained) is None
    assert "| Set5 | 3 | – / 32.55 | 33.10 ≥ 33.06 |" in report(measured, trained)


def test_the_command_writes_the_page_and_the_figures(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the figures need matplotlib")
    weights, runs = tmp_path / "assets" / "weights", tmp_path / "runs"
    for folder, model in ((weights, "fsrcnn-s"), (runs, "srcnn-9-1-5")):
        folder.mkdir(parents=True)
        for scale in SCALES:
            save_file(folder / f"{model}_x{scale}.safetensors", Net(NETWORKS[model], scale).to_weights(model))
    monkeypatch.setattr("vsr.models.catalogue.assets_dir", lambda: tmp_path / "assets")
    log = [{"iteration": 10, "psnr": 30.0}, {"iteration": 20, "psnr": 31.0}]
    card = {"recipe": {"batch": 8}, "iterations": 20, "scores": {}, "scale": 3, "log": log}
    (runs / "paper-srcnn-91_x3.json").write_text(json.dumps(card))
    out = tmp_path / "out"
    assert main(["papers", "--data", str(small), "--runs", str(runs), "--out", str(out)]) == 0
    assert {path.stem for path in out.glob("*.png")} == {
        "psnr_time", "convergence", "filters_fsrcnn-s_x3", "deconvolution_fsrcnn-s_x3", "maps_fsrcnn-s_x3",
        "filters_srcnn-9-1-5_x3", "maps_srcnn-9-1-5_x3"}
    assert all(cv2.imread(str(path)).std() > 5 for path in out.glob("*.png"))
    page = (out / "PAPERS.md").read_text("utf-8")
    assert "SRCNN: reference fp32" in page
    assert capsys.readouterr().out == ""


def test_what_is_missing_is_said_in_a_line(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["papers", "--data", str(tmp_path)]) == 3
    assert "test/Set5" in capsys.readouterr().err
    (tmp_path / "taken").touch()
    assert main(["papers", "--data", str(small), "--out", str(tmp_path / "taken")]) == 4
    error = capsys.readouterr().err
    assert "taken" in error and error.count("\n") == 1, "measured before the folder was tried"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["papers", "--data", str(small), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "pip install 'vsr[plots]'" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_runs_that_are_none_are_said_in_a_line(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(runs: Path) -> str:
        assert main(["papers", "--data", str(small), "--runs", str(runs)]) == 3
        error = capsys.readouterr().err
        return error.splitlines()[-1]

    (tmp_path / "a.json").write_text("{")
    assert "a.json" in refused(tmp_path) and "not a folder" in refused(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"recipe": {}}')  # of something else
    assert "a" not in cards(tmp_path)
    save_file(tmp_path / "srcnn-9-1-5_x2.safetensors", random_net(NETWORKS["srcnn-narrow"], 2).to_weights("x"))
    assert "another network" in refused(tmp_path)


def test_the_page_says_what_the_cards_say() -> None:
    page = PAGE.read_text("utf-8")
    for model, name in (("fsrcnn-s", "FSRCNN-s"), ("fsrcnn", "FSRCNN")):
        if model not in catalogue():
            continue
        column = ["bicubic", "FSRCNN-s", "FSRCNN"].index(name) + 3
        for scale in SCALES:
            card = catalogue()[model].card(scale)
            assert card is not None
            for folder in ("Set5", "Set14"):
                row = next(line for line in page.splitlines() if line.startswith(f"| {folder} | {scale} |"))
                ours = compared(card["scores"][folder]["psnr"], published.BEST[name][folder, scale].psnr)
                assert row.split(" | ")[column - 1] == ours, "run 'vsr papers --data DIR > PAPERS.md'"
