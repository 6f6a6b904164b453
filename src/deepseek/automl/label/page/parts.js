// Boxes on pictures and spans in texts, by mouse and by keys.
state.brush = PROJECT.labels[0] || "";
const SVG = "http://www.w3.org/2000/svg", STEP = 0.01, LEAST_PX = 3;
const SHARE_HIGH = 0.56; // of the window, that a picture takes at first
let picture = null, selected = -1, zoom = 1, cursor = { from: 0, to: 0 }, words = [];

function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  return element;
}

function boxEditor(item, url) {
  const frame = make("div", { class: "frame", tabindex: "0", role: "group", "aria-label": "boxes" });
  const image = make("img", { src: url, alt: item.key, class: "picture", draggable: "false" });
  const layer = svg("svg", { class: "boxes" });
  const stage = make("div", { class: "stage" }, image, layer);
  frame.append(stage);
  picture = { image, layer, stage, start: null };
  selected = -1; zoom = 1;
  image.addEventListener("load", () => { layer.setAttribute("viewBox", `0 0 ${image.naturalWidth} ${image.naturalHeight}`); fitStage(); drawBoxes(); });
  layer.addEventListener("pointerdown", (event) => {
    const [x, y] = placeOf(event);
    selected = state.draft.findIndex((box) => x > box.left && x < box.right && y > box.top && y < box.bottom);
    picture.start = selected < 0 || event.shiftKey ? [x, y] : null;
    if (picture.start) { selected = state.draft.push({ label: state.brush, left: x, top: y, right: x, bottom: y }) - 1; layer.setPointerCapture(event.pointerId); }
    drawBoxes();
  });
  layer.addEventListener("pointermove", (event) => {
    if (!picture.start) return;
    const [x, y] = placeOf(event), [x0, y0] = picture.start;
    Object.assign(state.draft[selected], { left: Math.min(x, x0), right: Math.max(x, x0), top: Math.min(y, y0), bottom: Math.max(y, y0) });
    drawBoxes();
  });
  layer.addEventListener("pointerup", () => {
    const box = state.draft[selected];
    if (picture.start && box && (box.right - box.left < LEAST_PX || box.bottom - box.top < LEAST_PX)) { state.draft.splice(selected, 1); selected = -1; }
    picture.start = null;
    drawBoxes();
  });
  return frame;
}
function fitStage() {
  const { stage, image } = picture, most = stage.parentElement.clientWidth;
  stage.style.width = `${zoom * Math.min(most, SHARE_HIGH * innerHeight * (image.naturalWidth / image.naturalHeight))}px`;
}
function placeOf(event) {
  const area = picture.layer.getBoundingClientRect(), { naturalWidth: width, naturalHeight: height } = picture.image;
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  return [clamp(((event.clientX - area.left) / area.width) * width, width), clamp(((event.clientY - area.top) / area.height) * height, height)];
}
function drawBoxes() {
  const { layer, image } = picture, size = Math.max(image.naturalWidth, image.naturalHeight) / 45;
  layer.replaceChildren(...state.draft.flatMap((box, place) => {
    const shape = svg("rect", { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top, class: place === selected ? "box chosen" : "box" });
    const name = svg("text", { x: box.left, y: Math.max(box.top - size / 4, size), "font-size": size });
    name.textContent = box.label;
    return [shape, name];
  }));
  byId("live").textContent = isChinese() ? `${state.draft.length} 个框` : `${state.draft.length} boxes`;
}
function relabelPart(label) {
  if (selected >= 0 && state.draft[selected]) { state.draft[selected].label = label; (PROJECT.task === "masks" ? drawMasks : drawBoxes)(); }
}
function boxKey(event) {
  if (!picture) return false;
  const { naturalWidth: width, naturalHeight: height } = picture.image, box = state.draft[selected];
  if (event.key === "b") {
    selected = state.draft.push({ label: state.brush, left: width * 0.4, top: height * 0.4, right: width * 0.6, bottom: height * 0.6 }) - 1;
  } else if (event.key === "+" || event.key === "-") {
    zoom = Math.min(Math.max(zoom * (event.key === "+" ? 1.25 : 0.8), 1), 8);
    fitStage();
    return true;
  } else if (event.key === "Tab" && state.draft.length && !event.shiftKey && selected < state.draft.length - 1) selected += 1;
  else if (box && (event.key === "Delete" || event.key === "Backspace")) { state.draft.splice(selected, 1); selected = -1; }
  else if (box && event.key.startsWith("Arrow")) {
    const dx = { ArrowLeft: -1, ArrowRight: 1 }[event.key] || 0, dy = { ArrowUp: -1, ArrowDown: 1 }[event.key] || 0;
    const x = dx * Math.max(width * STEP, 1), y = dy * Math.max(height * STEP, 1);
    const moved = event.shiftKey ? { right: box.right + x, bottom: box.bottom + y } : { left: box.left + x, right: box.right + x, top: box.top + y, bottom: box.bottom + y };
    const made = { ...box, ...moved };
    if (made.left >= 0 && made.top >= 0 && made.right <= width && made.bottom <= height && made.right - made.left >= LEAST_PX && made.bottom - made.top >= LEAST_PX) Object.assign(box, moved);
  } else return false;
  drawBoxes();
  return true;
}

function spanEditor(item) {
  const text = String(item.content[PROJECT.texts[0]] || "");
  // Places are counted in characters as Python counts them: a letter outside of the first plane is one.
  words = []; cursor = { from: 0, to: 0 };
  let place = 0;
  // A letter of Chinese is a word of its own: there are no blanks between them.
  for (const part of text.match(/[\u3400-\u9fff]|[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) || []) {
    const length = [...part].length;
    words.push({ part, start: place, end: place + length, isBlank: /^\s+$/.test(part) });
    place += length;
  }
  words.filter((word) => !word.isBlank).forEach((word, at) => { word.at = at; });
  const body = make("p", { class: "spans", tabindex: "0", role: "group", "aria-label": "text" }, words.map((word) =>
    make("span", { "data-start": word.start, "data-end": word.end }, word.part)));
  const at = (node) => { const part = node && (node.nodeType === 1 ? node : node.parentElement).closest("[data-start]"); return part && words.find((word) => word.start === Number(part.dataset.start)); };
  body.addEventListener("mouseup", () => {
    const chosen = getSelection(), a = at(chosen.anchorNode), b = at(chosen.focusNode);
    if (!a || !b) return;
    const [first, last] = a.start <= b.start ? [a, b] : [b, a];
    const inner = words.filter((word) => !word.isBlank && word.start >= first.start && word.end <= last.end);
    if (inner.length) cursor = { from: inner[0].at, to: inner[inner.length - 1].at };
    chosen.removeAllRanges();
    drawSpans();
  });
  setTimeout(drawSpans);
  return body;
}
const solid = () => words.filter((word) => !word.isBlank);
function drawSpans() {
  const low = Math.min(cursor.from, cursor.to), high = Math.max(cursor.from, cursor.to);
  document.querySelectorAll("#card .spans [data-start]").forEach((part) => {
    const word = words.find((each) => each.start === Number(part.dataset.start));
    const span = state.draft.find((each) => word.start >= each.start && word.end <= each.end);
    part.className = [span ? "marked" : "", !word.isBlank && word.at >= low && word.at <= high ? "cursor" : ""].join(" ").trim();
    part.dataset.label = span && word.start === span.start ? span.label : "";
  });
}
function addSpan(label) {
  const all = solid(), low = Math.min(cursor.from, cursor.to), high = Math.max(cursor.from, cursor.to);
  if (!all.length) return;
  const span = { label, start: all[low].start, end: all[high].end };
  state.draft = [...state.draft.filter((each) => each.end <= span.start || each.start >= span.end), span].sort((a, b) => a.start - b.start);
  drawSpans();
  byId("live").textContent = `${label}: ${words.filter((word) => word.start >= span.start && word.end <= span.end).map((word) => word.part).join("")}`;
}
function spanKey(event) {
  const last = solid().length - 1;
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    const to = Math.min(Math.max(cursor.to + (event.key === "ArrowRight" ? 1 : -1), 0), Math.max(last, 0));
    cursor = { from: event.shiftKey ? cursor.from : to, to };
  } else if (event.key === "Delete" || event.key === "Backspace") {
    const word = solid()[cursor.to];
    state.draft = state.draft.filter((span) => !word || word.start < span.start || word.end > span.end);
  } else return false;
  drawSpans();
  return true;
}
const partKey = (event) => ({ boxes: boxKey, masks: maskKey, spans: spanKey })[PROJECT.task](event);

function start() {
  write("person", person());
  state.held = []; state.current = null; state.isOver = false;
  showEnd();
  send();
  fill();
}
byId("person").value = read("person") || "";
byId("skip").addEventListener("click", () => record("skip"));
byId("unsure").addEventListener("click", () => record("unsure"));
byId("undo").addEventListener("click", undo);
byId("toggle-hint").addEventListener("click", toggleHint);
byId("begin").addEventListener("click", start);
if (byId("done")) byId("done").addEventListener("click", finish);
if (byId("search")) byId("search").addEventListener("input", () => showLabels(state.current));
document.querySelectorAll(".switch button").forEach((each) => each.addEventListener("click", () => setTimeout(showCounts)));
showLabels(null);
if (person() && !byId("key")) start(); else showEnd();
