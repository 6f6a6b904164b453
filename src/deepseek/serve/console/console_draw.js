"use strict";
// What the console writes and draws with: numbers, words in two languages, elements, plots as SVG, after look/*.py.
// Every text goes in as a text node, so that a column may be called anything.
const SHOWN_STEPS = 10;
const PHONE_PX = 480; // below this width names stand above their marks
const MOST_GLYPHS = 200; // of a name: no plot holds more
const SVG = "http://www.w3.org/2000/svg";
const UNKNOWN = "–";

// 12,345.60: by hand, for the first toLocaleString of a page loads tables of all languages, a third of the page's time.
function grouped(value, decimals) {
  const [whole, ...rest] = value.toFixed(decimals).split(".");
  return [whole.replace(/\B(?=(\d{3})+$)/g, ","), ...rest].join(".");
}

function fixed(value, decimals) {
  const text = grouped(value, decimals);
  return (/[1-9]/.test(text) ? text : text.replace("-", "")).replace("-", "−");
}

function number(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return UNKNOWN;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 1e-4 || size >= 1e9) {
    const [mantissa, exponent] = value.toExponential(2).split("e");
    const raised = String(Number(exponent)).replace(/./g, (sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]);
    return `${mantissa.replace("-", "−")} × 10${raised}`;
  }
  const digits = (magnitude) => Math.max(0, 2 - Math.floor(Math.log10(magnitude)));
  let decimals = digits(size);
  if (size >= 1) decimals = digits(Number(size.toFixed(decimals))); // 9.996 is 10.0, not 10.00
  while (size < 1 && Number(size.toFixed(decimals)) >= 1 && decimals < 12) decimals += 1; // 0.9997 is not 1.00
  return fixed(value, decimals);
}

const signed = (value) => (value > 0 ? "+" : "") + number(value);
const count = (value) => (typeof value === "number" ? fixed(Math.round(value), 0) : UNKNOWN);

function duration(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return UNKNOWN;
  if (seconds < 0.9995e-3) return `${number(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${number(seconds * 1e3)} ms`;
  if (seconds < 60) return `${number(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

function shownValue(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (typeof value === "object") return "…"; // a file
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? grouped(value, 0) : number(value);
}

// A rate with its interval, as look/numbers.py writes them.
function interval(rate) {
  const ends = [rate.value, rate.low, rate.high];
  const size = Math.abs(rate.value) || Math.max(...ends.map(Math.abs));
  if (size < 1e-4) return `${number(rate.value)} [${number(rate.low)}, ${number(rate.high)}]`;
  let decimals = Math.max(0, 2 - Math.floor(Math.log10(size)));
  while (ends.some((end) => end > 0 && end < 1 && Number(end.toFixed(decimals)) >= 1) && decimals < 12) decimals += 1;
  const [value, low, high] = ends.map((end) => fixed(end, decimals));
  return `${value} [${low}, ${high}]`;
}

// What the threshold of a model does, on the rows that it was tested on; first what it does not keep.
function decision(card) {
  const notices = (card.notices || []).map((text) => make("p", { class: "state warn" }, "! ", text));
  const point = card.operating_point;
  if (!point) return notices;
  const alerts = point.num_caught + point.num_false_alarms;
  const measured = (rate, part, whole) => (rate
    ? said(`${interval(rate)}, ${count(part)} of ${count(whole)}`, `${interval(rate)}，${count(whole)} 中的 ${count(part)}`)
    : said("not measured: no such row", "未测量：没有这样的行"));
  const facts = [
    [said("Threshold", "阈值"), said(`${className(card, point.label)} from a probability of ${number(point.threshold)} on`,
      `概率达到 ${number(point.threshold)} 判为 ${className(card, point.label)}`)],
    [said("Recall", "召回率"), measured(point.recall, point.num_caught, point.num_positives)],
    [said("False-positive rate", "假阳性率"),
      measured(point.false_positive_rate, point.num_false_alarms, point.num_rows - point.num_positives)],
    [said("Precision", "精确率"), measured(point.precision, point.num_caught, alerts)],
  ];
  if (point.alerts_per_day) facts.push([said("Alerts a day", "每天告警数"), interval(point.alerts_per_day)]);
  const rows = facts.map(([name, value]) => [make("dt", null, name), make("dd", null, value)]).flat();
  const note = said(`On ${count(point.num_rows)} test rows, with exact 95 % intervals.`,
    `${count(point.num_rows)} 行测试数据，95 % 精确区间。`);
  return [...notices, make("dl", { class: "facts" }, ...rows), make("p", { class: "note" }, note)];
}

// A step of several columns together, such as "table", has no value of its own.
const shownStep = (name, row) => (name in row ? `${name} = ${shownValue(row[name])}` : name);

// The same words twice; the page's style shows one of them.
const said = (en, zh) => ({ en, zh });

function put(parent, ...parts) {
  for (const part of parts) {
    if (part === null || part === undefined || part === "" || part === false) continue;
    if (part instanceof Node) parent.append(part);
    else if (typeof part === "object") parent.append(inLanguage(parent, part, "en"), inLanguage(parent, part, "zh"));
    else parent.append(String(part));
  }
  return parent;
}

function inLanguage(parent, words, lang) {
  const holder = document.createElementNS(parent.namespaceURI, parent.namespaceURI === SVG ? "tspan" : "span");
  holder.setAttribute("class", lang);
  holder.setAttribute("lang", lang);
  holder.textContent = words[lang];
  return holder;
}

const make = (tag, attributes, ...parts) => fill(document.createElement(tag), attributes, parts);
const draw = (tag, attributes, ...parts) => fill(document.createElementNS(SVG, tag), attributes, parts);

function fill(element, attributes, parts) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined && value !== "") element.setAttribute(name, value);
  }
  return put(element, ...parts);
}

function canvas(width, height, title) {
  const label = `${title.en} · ${title.zh}`;
  return draw("svg", { class: "plot", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, width, height });
}

// ---- how wide a text is, and how to make it fit ------------------------------------------------------------------------
const pen = document.createElement("canvas").getContext("2d");

function widthOf(words) {
  if (typeof words !== "string") return Math.max(widthOf(words.en), widthOf(words.zh));
  pen.font = `600 12px ${getComputedStyle(document.body).fontFamily}`;
  return pen.measureText(words).width + 2;
}

function shorten(words, room) {
  if (typeof words !== "string") return said(shorten(words.en, room), shorten(words.zh, room));
  if (words.length <= MOST_GLYPHS && widthOf(words) <= room) return words;
  const all = Array.from(words);
  const letters = all.length > MOST_GLYPHS ? [...all.slice(0, MOST_GLYPHS / 2), ...all.slice(-MOST_GLYPHS / 2)] : all;
  let head = Math.ceil(letters.length / 2);
  let tail = letters.length - head;
  const cut = () => `${letters.slice(0, head).join("")}…${letters.slice(letters.length - tail).join("")}`;
  while (head + tail > 1 && widthOf(cut()) > room) {
    if (head > tail) head -= 1;
    else tail -= 1;
  }
  return cut();
}

// ---- plots ----------------------------------------------------------------------------------------------------------
// A line over the last minutes with its ends: 0 and the largest value upright, from when on and now below. A value that is
// not known leaves a gap, and one between two gaps is a dot. `shown` writes a value, `slotS` is the time between two (s).
function trend(values, title, shown, slotS) {
  const known = values.filter((value) => typeof value === "number");
  if (values.length < 2 || !known.length) return null;
  const top = Math.max(...known) || 1;
  const ends = [shown(top), "0"];
  const left = Math.max(...ends.map(tickWidth)) + 6;
  const [width, height, plotPx] = [left + 68, 48, 28];
  const seconds = (values.length - 1) * slotS;
  const since = seconds < 60 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
  const root = canvas(width, height, said(
    `${title.en}: ${shown(Math.min(...known))} to ${shown(Math.max(...known))}, the last ${since}`,
    `${title.zh}：${shown(Math.min(...known))} 至 ${shown(Math.max(...known))}，最近 ${since}`));
  const isKnown = (index) => typeof values[index] === "number";
  let [path, dots] = ["", ""];
  values.forEach((value, index) => {
    if (!isKnown(index)) return;
    const x = left + 3 + (index / (values.length - 1)) * (width - left - 6);
    const at = `${x.toFixed(1)} ${(plotPx - 2 - (value / top) * (plotPx - 8)).toFixed(1)}`;
    path += `${isKnown(index - 1) ? "L" : "M"}${at}`;
    if (!isKnown(index - 1) && !isKnown(index + 1)) dots += `M${at}h0`;
  });
  root.append(
    draw("path", { class: "axis", d: `M${left} 4V${plotPx}H${width - 1}` }),
    draw("path", { class: "curve thin s1", d: path }), draw("path", { class: "dots fine s1", d: dots }),
    draw("text", { x: left - 4, y: 10, "text-anchor": "end", class: "tick" }, ends[0]),
    draw("text", { x: left - 4, y: plotPx, "text-anchor": "end", class: "tick" }, ends[1]),
    draw("text", { x: left - 10, y: height - 4, class: "tick" }, `−${since}`),
    draw("text", { x: width - 1, y: height - 4, "text-anchor": "end", class: "tick" }, said("now", "现在")));
  return make("span", { class: "spark" }, root);
}

function tickWidth(text) {
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  return pen.measureText(text).width;
}

// A share of a bar; `mark`, where there is one, is the threshold.
function shareBar(share, mark = null) {
  const title = mark === null ? said(`share ${number(share)}`, `占比 ${number(share)}`)
    : said(`share ${number(share)}, threshold ${number(mark)}`, `占比 ${number(share)}，阈值 ${number(mark)}`);
  const root = canvas(120, 14, title);
  root.append(draw("rect", { class: "fill-neutral", x: 0, y: 6, width: 120, height: 2 }));
  root.append(draw("rect", { class: "bar", x: 0, y: 2, width: 120 * share, height: 10 }));
  if (mark !== null) root.append(draw("path", { class: "guide mark", d: `M${(120 * mark).toFixed(1)} 0V14` }));
  return root;
}

// The largest contributions, the sum of the others, and what the explanation leaves open where it can be seen.
function steps(found, row) {
  const all = Object.entries(found.values).map(([name, value]) => ({ label: shownStep(name, row), value }));
  all.sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
  const rest = all.length > SHOWN_STEPS + 1 ? all.splice(SHOWN_STEPS) : [];
  if (rest.length) {
    const value = rest.reduce((sum, step) => sum + step.value, 0);
    all.push({ label: said(`${rest.length} other columns`, `其余 ${rest.length} 列`), value });
  }
  const largest = Math.max(0, ...all.map((step) => Math.abs(step.value)));
  if (Math.abs(found.residual) > 1e-3 * largest) all.push({ label: said("Not explained", "未解释部分"), value: found.residual });
  return all;
}

// Where the names, the marks and the numbers of each row lie.
function layout(lines, width) {
  const stacked = width < PHONE_PX;
  const step = stacked ? 44 : 26;
  const valuePx = Math.max(...lines.map((line) => widthOf(line.text)));
  const labelPx = Math.min(Math.max(...lines.map((line) => widthOf(line.label))), 0.38 * width);
  return {
    width, stacked, step, label: labelPx,
    left: stacked ? 6 : labelPx + 14,
    right: stacked ? width - 6 : width - valuePx - 14,
    bottom: 4 + step * lines.length,
    middle: (index) => 4 + step * index + (stacked ? 29 : 13),
    half: stacked ? 9 : step / 2,
  };
}

// How one answer comes about: from the base value (below) to the output (above), the largest steps on top.
function waterfall(found, row, width, label) {
  const parts = steps(found, row);
  const lines = [
    { label: said("Output", "输出"), text: number(found.output), kind: "strong" },
    ...parts.map(({ label, value }) => ({ label, text: signed(value), kind: value < 0 ? "negative" : "positive" })),
    { label: said("Base value", "基准值"), text: number(found.base_value), kind: "" },
  ];
  const place = layout(lines, width);
  const ends = [found.output];
  for (const part of parts) ends.push(ends.at(-1) - part.value);
  const x = scale([...ends, found.base_value], place.left, place.right);
  const title = said("How the columns move this answer, from base value to output", "各列如何使结果从基准值变为输出");
  const root = canvas(width, place.bottom + 44, title);
  const upright = (value, kind) => lines.forEach((_, index) => {
    const y = place.middle(index);
    root.append(draw("path", { class: kind, d: `M${x(value)} ${y - place.half}V${y + place.half}` }));
  });
  axis(root, x, place, label, (value) => upright(value, "grid"));
  for (const [value, index] of [[found.output, 0], [found.base_value, lines.length - 1]]) {
    upright(value, "guide");
    root.append(draw("path", { class: "dots big neutral", d: `M${x(value)} ${place.middle(index)}h0` }));
  }
  parts.forEach((part, index) => root.append(arrow(x(ends[index + 1]), x(ends[index]), place.middle(index + 1), part.value)));
  lines.forEach((line, index) => write(root, line, index, place));
  return root;
}

function write(root, line, index, place) {
  const y = place.stacked ? 4 + place.step * index + 14 : place.middle(index) + 4;
  const text = shorten(line.label, place.stacked ? place.width - widthOf(line.text) - 12 : place.label);
  const strong = line.kind === "strong" ? "strong" : "";
  const [x, anchor] = place.stacked ? [0, ""] : [place.left - 12, "end"];
  const label = draw("text", { x, y, "text-anchor": anchor, class: strong }, text);
  if (typeof text === "string" && text !== line.label) label.prepend(draw("title", {}, line.label));
  root.append(label, draw("text", { x: place.width, y, "text-anchor": "end", class: line.kind }, line.text));
}

// A bar that points where it pushes, so that its sign needs no colour.
function arrow(from, to, y, value) {
  const neck = to - Math.sign(to - from || 1) * Math.min(6, Math.abs(to - from));
  const outline = `M${from} ${y - 8}L${neck} ${y - 8}L${to} ${y}L${neck} ${y + 8}L${from} ${y + 8}Z`;
  return draw("path", { class: value < 0 ? "fill-negative" : "fill-positive", d: outline });
}

function scale(values, start, end) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = 0.04 * (high - low || Math.abs(high) || 1);
  [low, high] = [low - margin, high + margin];
  return Object.assign((value) => start + ((value - low) / (high - low)) * (end - start), { low, high });
}

function axis(root, x, place, label, grid) {
  const rough = (x.high - x.low) / Math.max(2, Math.floor((place.right - place.left) / 80));
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough * (1 - 1e-9));
  const decimals = Math.min(12, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  const y = place.bottom;
  for (let index = Math.ceil(x.low / step - 1e-9); index * step <= x.high + 1e-9 * step; index += 1) {
    const text = fixed(index * step, decimals);
    const half = widthOf(text) / 2;
    const at = Math.min(Math.max(x(index * step), half), place.width - half);
    grid(index * step);
    root.append(draw("text", { x: at, y: y + 18, "text-anchor": "middle", class: "tick" }, text));
  }
  root.append(draw("path", { class: "axis", d: `M${place.left} ${y}H${place.right}` }));
  const middle = (place.left + place.right) / 2;
  root.append(draw("text", { x: middle, y: y + 36, "text-anchor": "middle", class: "label" }, label));
}
