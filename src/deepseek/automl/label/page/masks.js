// Masks on pictures: outlines that are drawn in one stroke or point by point, and moved point by point by keys.
const NEAR_PX = 10, STROKE_PX = 3, SIMPLE_PX = 0.75; // on the screen: to the first point, between two points, of the outline
let outline = null, point = 0; // the mask that is being drawn; the chosen point of the chosen mask

function maskEditor(item, url) {
  const frame = make("div", { class: "frame", tabindex: "0", role: "group", "aria-label": isChinese() ? "掩膜" : "masks" });
  const image = make("img", { src: url, alt: item.key, class: "picture", draggable: "false" });
  const layer = svg("svg", { class: "boxes masks" }), stage = make("div", { class: "stage" }, image, layer);
  frame.append(stage);
  picture = { image, layer, stage, start: null, isStroke: false };
  selected = -1; zoom = 1; outline = null; point = 0;
  image.addEventListener("load", () => { layer.setAttribute("viewBox", `0 0 ${image.naturalWidth} ${image.naturalHeight}`); fitStage(); drawMasks(); });
  layer.addEventListener("pointerdown", (event) => {
    const place = placeOf(event);
    if (!outline) {
      selected = event.shiftKey ? -1 : state.draft.findIndex((mask) => isInside(place, mask.points));
      point = 0;
      if (selected >= 0) { drawMasks(); return; }
      outline = [];
    }
    if (outline.length > 2 && distance(place, outline[0]) < NEAR_PX * perPixel()) { closeOutline(); return; }
    outline.push(place);
    picture.start = place; picture.isStroke = false;
    layer.setPointerCapture(event.pointerId);
    drawMasks();
  });
  layer.addEventListener("pointermove", (event) => {
    if (!picture.start || !outline) return;
    const place = placeOf(event);
    if (distance(place, outline[outline.length - 1]) < STROKE_PX * perPixel()) return;
    outline.push(place);
    picture.isStroke = true;
    drawMasks();
  });
  layer.addEventListener("pointerup", () => {
    if (picture.isStroke && outline && outline.length > 2) closeOutline();
    picture.start = null; picture.isStroke = false;
  });
  return frame;
}
const distance = ([ax, ay], [bx, by]) => Math.hypot(ax - bx, ay - by);
const perPixel = () => picture.image.naturalWidth / (picture.layer.getBoundingClientRect().width || 1);
function isInside([x, y], points) {
  let inside = false;
  points.forEach(([ax, ay], at) => {
    const [bx, by] = points[(at + points.length - 1) % points.length];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  });
  return inside;
}
function areaOf(points) {
  return Math.abs(points.reduce((sum, [x, y], at) => { const [nx, ny] = points[(at + 1) % points.length]; return sum + x * ny - nx * y; }, 0)) / 2;
}
// Douglas and Peucker: points that lie nearly on the line between those beside them are left out.
function simplify(points, most) {
  if (points.length < 3) return points;
  const [a, b] = [points[0], points[points.length - 1]], length = distance(a, b) || 1;
  let far = 0, at = 0;
  points.forEach((each, place) => {
    const off = distance(a, b) ? Math.abs((b[0] - a[0]) * (a[1] - each[1]) - (a[0] - each[0]) * (b[1] - a[1])) / length : distance(a, each);
    if (off > far) { far = off; at = place; }
  });
  return far > most ? [...simplify(points.slice(0, at + 1), most).slice(0, -1), ...simplify(points.slice(at), most)] : [a, b];
}
function closeOutline() {
  const points = simplify(outline, SIMPLE_PX * perPixel()).map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]);
  outline = null; picture.start = null; picture.isStroke = false;
  if (points.length > 2 && areaOf(points) >= 1) { selected = state.draft.push({ label: state.brush, points }) - 1; point = 0; }
  drawMasks();
}
function drawMasks() {
  const { layer, image } = picture, size = Math.max(image.naturalWidth, image.naturalHeight) / 45, radius = 4 * perPixel();
  const draw = (points) => points.map(([x, y]) => `${x},${y}`).join(" ");
  layer.replaceChildren(...state.draft.flatMap((mask, place) => {
    const name = svg("text", { x: Math.min(...mask.points.map(([x]) => x)), y: Math.max(Math.min(...mask.points.map(([, y]) => y)) - size / 4, size), "font-size": size });
    name.textContent = mask.label;
    return [svg("polygon", { points: draw(mask.points), class: place === selected ? "box chosen" : "box" }), name];
  }));
  const chosen = state.draft[selected];
  if (chosen) chosen.points.forEach(([x, y], at) => layer.append(svg("circle", { cx: x, cy: y, r: at === point ? 1.6 * radius : radius, class: at === point ? "point now" : "point" })));
  if (outline) layer.append(svg("polyline", { points: draw(outline), class: "box" }), svg("circle", { cx: outline[0][0], cy: outline[0][1], r: radius, class: "point" }));
  const words = outline ? `${outline.length} points` : `${state.draft.length} masks`;
  byId("live").textContent = isChinese() ? (outline ? `${outline.length} 个点` : `${state.draft.length} 个掩膜`) : words;
}
function maskKey(event) {
  if (!picture) return false;
  const { naturalWidth: width, naturalHeight: height } = picture.image, mask = state.draft[selected], key = event.key;
  if (outline && (key === "Enter" || key === "Escape" || key === "Backspace")) {
    if (key === "Enter") closeOutline();
    else if (key === "Escape" || outline.length === 1) outline = null;
    else outline.pop();
  } else if (key === "b") {
    const x = [0.4, 0.6, 0.6, 0.4], y = [0.4, 0.4, 0.6, 0.6];
    selected = state.draft.push({ label: state.brush, points: x.map((share, at) => [Math.round(share * width), Math.round(y[at] * height)]) }) - 1; point = 0;
  } else if (key === "+" || key === "-") { zoom = Math.min(Math.max(zoom * (key === "+" ? 1.25 : 0.8), 1), 8); fitStage(); }
  else if (key === "Tab" && state.draft.length && !event.shiftKey && selected < state.draft.length - 1) { selected += 1; point = 0; }
  else if (!mask) return false;
  else if (key === "." || key === ",") point = (point + (key === "." ? 1 : mask.points.length - 1)) % mask.points.length;
  else if (key === "i") {
    const [x, y] = mask.points[point], [nx, ny] = mask.points[(point + 1) % mask.points.length];
    mask.points.splice(point + 1, 0, [(x + nx) / 2, (y + ny) / 2]); point += 1;
  } else if (key === "Delete" || key === "Backspace") {
    if (mask.points.length > 3 && !event.shiftKey) { mask.points.splice(point, 1); point = Math.min(point, mask.points.length - 1); }
    else { state.draft.splice(selected, 1); selected = -1; }
  } else if (key.startsWith("Arrow")) {
    const x = { ArrowLeft: -1, ArrowRight: 1 }[key] || 0, y = { ArrowUp: -1, ArrowDown: 1 }[key] || 0, step = Math.max(width * STEP, 1);
    const moved = mask.points.map(([px, py], at) => (event.shiftKey || at === point ? [px + x * step, py + y * step] : [px, py]));
    if (moved.every(([px, py]) => px >= 0 && py >= 0 && px <= width && py <= height) && areaOf(moved) >= 1) mask.points = moved;
  } else return false;
  drawMasks();
  return true;
}
