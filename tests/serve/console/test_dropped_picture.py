"""A picture that is dropped on the console: what the model sees in it is drawn on it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

for module in ("torch", "onnxscript", "scipy", "pycocotools"):
    pytest.importorskip(module)

from deepseek.automl.detection.fit import fit_detection  # noqa: E402
from deepseek.automl.detection.options import DetectionOptions  # noqa: E402
from deepseek.bundle import open_bundle, write_bundle  # noqa: E402
from deepseek.recipes.defects.example import write_example  # noqa: E402
from support.servers.browser import OpenPage, browser, open_page  # noqa: E402
from support.servers.serving import started, until  # noqa: E402

__all__ = ["browser", "open_page"]  # fixtures

DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, {type: "image/png"}));
  const area = document.querySelector("input[type=file]").closest("div").parentElement;
  area.dispatchEvent(new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true}));
}"""
#: Pixels of the canvas whose red and blue differ: a gray picture has none until something is drawn on it.
NUM_COLORED = """() => {
  const canvas = document.querySelector("#drawn");
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let colored = 0;
  for (let place = 0; place < data.length; place += 4) colored += data[place] !== data[place + 2];
  return colored;
}"""


@pytest.mark.slow
def test_a_dropped_picture_without_sure_boxes_is_shaded_where_the_model_sees_something(
    open_page: OpenPage, tmp_path: Path
) -> None:
    """A net of few steps sees something on defective parts, and is never as sure as boxes are asked to be here."""
    pictures, labels = write_example(tmp_path, num_defective=8, num_good=4)
    options = DetectionOptions(out=tmp_path / "trained", max_steps=40, trunk="random", size=64)
    fit_detection(pictures, options, labels=labels)
    bundle = open_bundle(tmp_path / "trained")
    files = {path: bundle.read(path) for path in bundle.manifest.files}
    config = json.loads(files["detector.json"]) | {"threshold": 0.02, "box_threshold": 0.999}
    write_bundle(tmp_path / "surface", bundle.manifest, files | {"detector.json": json.dumps(config).encode()})
    picture = base64.b64encode(min(pictures.glob("*.png")).read_bytes()).decode()
    with (
        started(tmp_path / "surface", "--workers", "1") as running,
        open_page(running.url + "/", allow=running.url) as opened,
    ):
        opened.wait_for_selector("#fields input[type=file]")
        opened.evaluate(DROP, [picture, "dropped.png"])
        expect(opened.locator("#fields")).to_contain_text("dropped.png", use_inner_text=True)
        opened.click("button[value=predict]")
        expect(opened.locator("#predicted")).to_contain_text("Defective", use_inner_text=True)
        expect(opened.locator("#no-boxes")).to_contain_text("No box is sure enough", use_inner_text=True)
        until(lambda: opened.evaluate(NUM_COLORED) > 0)
        assert opened.locator("#drawn").is_visible()
        opened.close()
