// Pictures: what was chosen, before it is sent, and which of its regions moved the answer. Drawn as look/saliency.py
// does it. Runs after console_draw.js.
const MOST_REGIONS = 196; // the strongest
const NUM_SHADES = 6;
const SIDE_PX = 320; // of a picture's longer side
const SIGN_PX = 15; // the smallest side of a region that bears its sign
const FITS = { squash: "none", crop: "xMidYMid slice", pad: "xMidYMid meet" };

// A file as a request holds it, as the address of a picture; null for one of several files.
function pictureUrl(held) {
  if (held && typeof held.b64 === "string") return `data:;base64,${held.b64}`; // the browser tells its type by its bytes
  return typeof held === "string" && held.startsWith("data:") ? held : null;
}

function picture(held, name) {
  const url = pictureUrl(held);
  if (!url) return null;
  const image = make("img", { src: url, alt: name });
  const unseen = make("span", { class: "soft" }, said("This browser cannot show the file; the model may read it.",
    "浏览器无法显示该文件；模型仍可能读取它。"));
  image.addEventListener("error", () => image.replaceWith(unseen));
  return image;
}

// One figure for each picture of the row whose regions were explained.
function partFigures(parts, row, label) {
  return parts.filter((part) => part.kind === "image" && part.regions && part.size).map((part) => {
    const input = state.model.inputs.find((one) => one.name === part.column) || {};
    const title = said(`Which regions of ${part.column} moved the answer`, `${part.column} 中影响结果的区域`);
    const holder = make("div", { class: "regions" });
    drawRegions(holder, part, pictureUrl(row[part.column]), input.aspect || "squash", title);
    return make("figure", { class: "parts" }, make("h3", null, title), holder, regionLegend(part), regionCaption(part, label));
  });
}

// The picture, and beside it the same in gray under its regions. A picture of another shape than the model's is drawn as
// the model gets it: whole where it is squashed, else cropped or padded.
function drawRegions(holder, part, url, aspect, title) {
  const [high, wide] = part.size;
  const show = (shape) => {
    const scale = SIDE_PX / Math.max(...shape);
    const [width, height] = [shape[0] * scale, shape[1] * scale];
    const views = [canvas(width, height, title)];
    if (url) views.push(canvas(width, height, title));
    if (url) views.forEach((view, index) => view.append(draw("image", {
      href: url, width, height, preserveAspectRatio: FITS[aspect], class: index ? "under" : "",
    })));
    shadeRegions(views.at(-1), part, width / wide, height / high);
    holder.replaceChildren(...views);
  };
  show([wide, high]);
  if (!url || aspect !== "squash") return;
  const original = new Image();
  original.addEventListener("load", () => show([original.naturalWidth, original.naturalHeight]));
  original.src = url;
}

const shadeOf = (value, largest) => (largest > 0 ? Math.min(NUM_SHADES, Math.round((NUM_SHADES * Math.abs(value)) / largest)) : 0);

function shadeRegions(view, part, acrossPx, downPx) {
  const strongest = [...part.regions].sort((one, other) => Math.abs(other.value) - Math.abs(one.value)).slice(0, MOST_REGIONS);
  const largest = strongest.length ? Math.abs(strongest[0].value) : 0;
  const framed = new Set();
  for (const { box, value } of strongest) {
    const [x, y, width, height] = [box[0] * acrossPx, box[1] * downPx, (box[2] - box[0]) * acrossPx, (box[3] - box[1]) * downPx];
    const [step, kind] = [shadeOf(value, largest), value < 0 ? "down" : "up"];
    if (!step) continue;
    view.append(draw("rect", { x, y, width, height, class: `lit-${kind} lit-${step}` }, draw("title", {}, signed(value))));
    if (!framed.has(kind)) view.append(draw("rect", { x, y, width, height, class: `most-${kind}` })); // the strongest come first
    framed.add(kind);
    if (step > 1 && Math.min(width, height) >= SIGN_PX) {
      view.append(draw("text", { x: x + width / 2, y: y + height / 2 + 4, "text-anchor": "middle", class: "sign-mark" }, value > 0 ? "+" : "−"));
    }
  }
}

function regionLegend(part) {
  const largest = Math.max(0, ...part.regions.map((region) => Math.abs(region.value)));
  if (!largest) return null;
  const shades = (kind, steps) => steps.map((step) => make("i", { class: `${kind}-${step}` }));
  return make("div", { class: "legend" }, make("span", null, said("lowers", "降低"), ` ${signed(-largest)}`), ...shades("flat", [6, 4, 2]),
    make("span", null, "0"), ...shades("over", [2, 4, 6]), make("span", null, said("raises", "提高"), ` ${signed(largest)}`));
}

function regionCaption(part, label) {
  const sorted = [...part.regions].sort((one, other) => other.value - one.value);
  const [first, last] = [sorted[0], sorted.at(-1)];
  const place = (region) => placeOf(region.box, part.size);
  const caption = make("figcaption", null);
  if (!first || (first.value <= 0 && last.value >= 0)) return put(caption, said("No region moved the answer.", "没有区域影响结果。"));
  const line = (en, zh, region) => said(`${en} ${place(region).en} ${signed(region.value)}. `, `${zh}${place(region).zh} ${signed(region.value)}。`);
  if (first.value > 0) put(caption, line("Raises it most:", "提高最多：", first));
  if (last.value < 0) put(caption, line("Lowers it most:", "降低最多：", last));
  return put(caption, said(`Scale: ${label.en}.`, `尺度：${label.zh}。`));
}

function placeOf(box, [high, wide]) {
  const third = (low, end, size) => Math.min(2, Math.floor((3 * (low + end)) / 2 / size));
  const [across, down] = [third(box[0], box[2], wide), third(box[1], box[3], high)];
  const zh = across === 1 && down === 1 ? "中央" : `${["左", "中", "右"][across]}${["上", "中", "下"][down]}部`;
  return said(`${["upper", "centre", "lower"][down]} ${["left", "middle", "right"][across]}`, zh);
}
