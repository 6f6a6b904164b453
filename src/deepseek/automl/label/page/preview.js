// Files that a browser does not show by itself: curves of a series, the course of a sound, slices of a scan; and zoom.
const PREVIEWED = new Set(["series", "audio", "volume"]), CURVE = { width: 600, high: 160, low: 72 }, MOST_ZOOM = 8;
let scan = null, viewZoom = 1;

function showPreview(item, column, kept) {
  const kind = PROJECT.kinds[column];
  if (kind === "series") return kept.preview.channels.map((channel) => curve(channel, kept.preview)).concat(seriesNote(kept.preview));
  if (kind === "volume") return [scanViewer(item, column, kept.preview)];
  const player = make("audio", { controls: true, src: kept.url, "aria-label": item.key });
  if (!kept.preview) return [player];
  const end = `${kept.preview.seconds.toLocaleString("en", { maximumSignificantDigits: 3 })} s`;
  const cursor = svgLine(0), wave = curve({ name: "", low: kept.preview.low, high: kept.preview.high }, { num_channels: 1, end }, cursor);
  player.addEventListener("timeupdate", () => { const x = (player.currentTime / kept.preview.seconds) * CURVE.width; cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); });
  wave.querySelector("svg").addEventListener("click", (event) => { const area = event.currentTarget.getBoundingClientRect(); player.currentTime = ((event.clientX - area.left) / area.width) * kept.preview.seconds; });
  const bands = make("img", { src: kept.preview.spectrogram, class: "bands", alt: isChinese() ? "频谱图" : "Spectrogram" });
  return [player, wave, bands, make("p", { class: "axis" }, make("span", {}, "0 s"), make("span", {}, said("low to high notes, upwards", "由下至上频率升高")), make("span", {}, end))];
}

function svgLine(x) { return svg("line", { x1: x, x2: x, y1: 0, y2: CURVE.high, class: "playing" }); }

// The area between the least and the highest value of each stretch; a stretch without a value is a gap.
function curve(channel, preview, ...more) {
  const height = preview.num_channels === 1 ? CURVE.high : CURVE.low, bins = channel.high.length;
  const there = channel.high.filter((value) => value !== null), lows = channel.low.filter((value) => value !== null);
  const least = Math.min(...lows), most = Math.max(...there), span = most - least || 1;
  const x = (bin) => (bins > 1 ? (bin / (bins - 1)) * CURVE.width : CURVE.width / 2), y = (value) => height - 2 - ((value - least) / span) * (height - 4);
  const runs = [];
  channel.high.forEach((value, bin) => { if (value === null) return; if (bin && channel.high[bin - 1] !== null) runs[runs.length - 1].push(bin); else runs.push([bin]); });
  const path = runs.map((run) => {
    const there_ = run.map((bin) => `${x(bin).toFixed(1)},${y(channel.high[bin]).toFixed(1)}`), back = [...run].reverse().map((bin) => `${x(bin).toFixed(1)},${y(channel.low[bin]).toFixed(1)}`);
    return `M${there_.join("L")}L${back.join("L")}Z`;
  }).join("");
  const words = there.length ? `${cellText(least)} … ${cellText(most)}` : isChinese() ? "无数据" : "no values";
  const picture = svg("svg", { viewBox: `0 0 ${CURVE.width} ${height}`, preserveAspectRatio: "none", class: "curve", role: "img", "aria-label": `${channel.name} ${words}` });
  picture.append(svg("path", { d: path, class: "line" }), ...more);
  picture.style.height = `${height}px`;
  const end = preview.end || `${count(preview.num_moments)} ${isChinese() ? "个时刻" : "moments"}`;
  return make("figure", { class: "plot" }, make("figcaption", {}, make("b", {}, channel.name), make("span", { class: "soft" }, preview.end ? "" : words)), picture,
    preview.end ? "" : make("p", { class: "axis" }, make("span", {}, "0"), make("span", {}, end)));
}
function seriesNote(preview) {
  const left = preview.num_channels - preview.channels.length, parts = [];
  if (left > 0) parts.push(make("p", { class: "note" }, said(`and ${left} channels more`, `另有 ${left} 个通道`)));
  if (preview.num_missing) parts.push(make("p", { class: "note" }, said(`${count(preview.num_missing)} values are missing`, `缺失 ${count(preview.num_missing)} 个值`)));
  return parts;
}

function scanViewer(item, column, preview) {
  const image = make("img", { class: "picture slice", alt: item.key }), place = make("span", { class: "place" });
  const slider = make("input", { type: "range", min: 0, max: preview.num_slices - 1, value: Math.floor(preview.num_slices / 2), "aria-label": isChinese() ? "切片" : "slice" });
  const names = Object.keys(preview.windows), words = { all: ["All values", "全部"], lung: ["Lung", "肺窗"], soft: ["Soft tissue", "软组织窗"], bone: ["Bone", "骨窗"] };
  const buttons = names.length > 1 ? names.map((name, at) => make("button", { type: "button", class: "act", "aria-pressed": String(at === 0), on: { click: () => chooseWindow(at) } }, said(...words[name]))) : [];
  scan = { width: "", item, column, preview, image, slider, place, names, at: 0, urls: new Map(), buttons };
  // Of a slice of 1 x 3 mm pixels the picture is as wide and high as the patient, and not as its pixels.
  const [, rows, columns] = preview.size, [, down, across] = preview.spacing_mm.map((step) => step || 1);
  const ratio = (columns * across) / (rows * down);
  image.style.aspectRatio = String(ratio);
  scan.width = image.style.width = `min(100%, calc(56vh * ${ratio}))`;
  slider.addEventListener("input", showSlice);
  const stage = make("div", { class: "stage zoomed" }, image);
  setTimeout(showSlice);
  return make("div", { class: "scan" }, make("div", { class: "frame" }, stage), make("div", { class: "slices" }, slider, place), make("div", { class: "acts" }, buttons));
}
async function showSlice() {
  const own = scan, place = Number(own.slider.value), name = own.names[own.at], key = `${place}/${name}`;
  own.place.textContent = `${place + 1} / ${own.preview.num_slices}`;
  own.wanted = key;
  if (!own.urls.has(key)) {
    const [low, high] = own.preview.windows[name];
    try {
      const answer = await fetch(`slice/${own.item.number}/${encodeURIComponent(own.column)}?place=${place}&low=${low}&high=${high}`, { headers: headers() });
      if (!answer.ok) { tellError((await answer.json()).error); return; }
      own.urls.set(key, URL.createObjectURL(await answer.blob()));
    } catch { setOffline(true); return; }
  }
  if (own === scan && own.wanted === key) own.image.src = own.urls.get(key);
}
function chooseWindow(at) {
  scan.at = at;
  scan.buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(place === at)));
  showSlice();
}
function dropScan() {
  if (scan) scan.urls.forEach((url) => URL.revokeObjectURL(url));
  scan = null; viewZoom = 1;
}

// Keys of what is looked at, where the label is a class or a number.
function viewKey(event) {
  if (event.key === "+" || event.key === "-" || event.key === "=") {
    const stage = document.querySelector("#card .stage.zoomed");
    if (!stage) return false;
    viewZoom = Math.min(Math.max(viewZoom * (event.key === "-" ? 0.8 : 1.25), 1), MOST_ZOOM);
    stage.style.width = `${100 * viewZoom}%`;
    stage.classList.toggle("large", viewZoom > 1);
    if (scan) scan.image.style.width = viewZoom > 1 ? "100%" : scan.width;
    return true;
  }
  if (!scan) return false;
  const step = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
  if (step) { scan.slider.value = Number(scan.slider.value) + step; showSlice(); return true; }
  if (event.key.toLowerCase() === "w" && scan.names.length > 1) { chooseWindow((scan.at + 1) % scan.names.length); return true; }
  return false;
}
