// What a model answered, and why: the sentence, the chances, the waterfall, the request as a command. Runs after
// console_form.js.
const SHOWN_CLASSES = 10;
const SHOWN_NUMBERS = 8; // of an embedding
const SHOWN_BODY = 4000; // characters of a request: a longer one is a file's
const PLOT_PX = 736;

function showResult() {
  const { predicted, why, row, seconds, name, action } = state.last;
  const time = make("p", { class: "note" }, said(`Answered in ${duration(seconds)}, there and back.`, `往返用时 ${duration(seconds)}。`));
  const words = (why && joined(state.model, why, predicted)) || verdict(state.model, predicted);
  const sentence = words && make("p", { id: "joined" }, words);
  show("result", headline(predicted), sentence, chances(predicted), flags(predicted), time, explained(why, row), terminal(name, action, row));
}

function headline(predicted) {
  if (state.model.task === "tensors") return outputs(predicted);
  const target = make("span", { class: "soft" }, state.model.target ? `${state.model.target}: ` : "");
  const isClass = predicted.label !== undefined;
  if (predicted.embedding) {
    const first = predicted.embedding.slice(0, SHOWN_NUMBERS).map(number).join(", ");
    const count = predicted.embedding.length;
    const shape = make("strong", { id: "predicted" }, said(`${count} numbers: `, `${count} 个数：`));
    return make("p", { class: "answer" }, shape, `${first}, …`);
  }
  if (predicted.boxes) return defects(predicted);
  if (predicted.entities) {
    const found = predicted.entities.map((one) => make("li", null, make("strong", null, one.text), ` ${one.label} ${number(one.probability)}`));
    return make("ul", { class: "answer", id: "predicted" }, ...(found.length ? found : [make("li", null, said("none found", "没有找到"))]));
  }
  const answer = make("strong", { id: "predicted" }, isClass ? predicted.label : number(predicted.value));
  const interval = predicted.interval ? ` [${predicted.interval.map(number).join(", ")}]` : "";
  return make("p", { class: "answer" }, target, answer, interval);
}

const NUMBER_PX = 18; // side of the square in which a box has its number

// Boxes over the picture that was sent, and beside it what each is.
function defects(predicted) {
  const held = state.last.row && state.last.row[state.model.inputs[0].name];
  const words = predicted.defective ? said("Defective", "有缺陷") : said("No defect", "无缺陷");
  const mark = predicted.defective ? "✗ " : "✓ ";
  const title = make("p", { class: "answer" }, make("strong", { id: "predicted" }, mark, words), ` ${number(predicted.score)}`);
  const list = make("ol", { id: "boxes" }, ...predicted.boxes.map((one) => make("li", null, make("strong", null, one.category),
    ` ${number(one.score)} [${one.box.map((side) => Math.round(side)).join(", ")}]`)));
  const url = pictureUrl(held);
  if (!url) return make("div", null, title, list);
  const image = new Image();
  const canvas = make("canvas", { id: "drawn" });
  canvas.style.maxWidth = "100%"; // by script: the policy of the page forbids the attribute
  image.addEventListener("load", () => {
    drawBoxes(canvas, image, predicted.boxes);
    if (!predicted.boxes.length && predicted.defective && predicted.mask) drawHeat(canvas, predicted.mask);
  });
  image.src = url;
  if (predicted.boxes.length) return make("div", null, title, canvas, list);
  const why = predicted.defective
    ? said("No box is sure enough to be drawn. Shaded: where the model sees something.", "没有足够确定的方框可画。着色处为模型认为可疑之处。")
    : said("No box reaches the threshold.", "没有方框达到阈值。");
  return make("div", null, title, canvas, make("p", { class: "note", id: "no-boxes" }, why));
}

// The heat map, a gray PNG, as a shade over the picture: the hotter a cell, the less of the picture is seen.
function drawHeat(canvas, mask) {
  const heat = new Image();
  heat.addEventListener("load", () => {
    const shade = make("canvas", { width: heat.naturalWidth, height: heat.naturalHeight });
    const pen = shade.getContext("2d");
    pen.drawImage(heat, 0, 0);
    const cells = pen.getImageData(0, 0, shade.width, shade.height);
    for (let place = 0; place < cells.data.length; place += 4) {
      const hot = cells.data[place];
      cells.data.set([0xc2, 0x41, 0x0c, Math.round(0.7 * hot)], place);
    }
    pen.putImageData(cells, 0, 0);
    canvas.getContext("2d").drawImage(shade, 0, 0, canvas.width, canvas.height);
  });
  heat.src = pictureUrl(mask);
}

function drawBoxes(canvas, image, boxes) {
  const taken = []; // where numbers stand already: the next to the right is free
  const scale = Math.max(1, Math.min(4, 480 / Math.max(image.naturalWidth, image.naturalHeight)));
  canvas.width = image.naturalWidth * scale;
  canvas.height = image.naturalHeight * scale;
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  pen.lineWidth = 2;
  pen.font = "14px system-ui";
  boxes.forEach((one, place) => {
    const [left, top, right, bottom] = one.box.map((side) => side * scale);
    pen.strokeStyle = "#c2410c";
    pen.strokeRect(left, top, right - left, bottom - top);
    pen.fillStyle = "#c2410c";
    const at = [left, Math.max(0, top - NUMBER_PX)];
    while (taken.some(([x, y]) => Math.abs(x - at[0]) < NUMBER_PX && Math.abs(y - at[1]) < NUMBER_PX)) at[0] += NUMBER_PX;
    taken.push(at);
    pen.fillRect(...at, NUMBER_PX, NUMBER_PX);
    pen.fillStyle = "#ffffff";
    pen.fillText(String(place + 1), at[0] + 4, at[1] + 14);
  });
}

// What a bare graph gives, by name: the first numbers of each output.
function outputs(predicted) {
  const shown = (value) => (typeof value === "number" || value === null ? number(value) : String(value));
  const rows = Object.entries(predicted).map(([name, value]) => {
    const flat = [value].flat(Infinity);
    const rest = flat.length > SHOWN_NUMBERS ? ", …" : "";
    return make("li", null, make("strong", null, name), ` ${flat.slice(0, SHOWN_NUMBERS).map(shown).join(", ")}${rest}`);
  });
  return make("ul", { class: "answer", id: "predicted" }, ...rows);
}

function chances(predicted) {
  const card = state.model;
  if (!predicted.probabilities || card.task === "tensors") return null;
  const sorted = Object.entries(predicted.probabilities).sort((one, other) => other[1] - one[1]);
  const limit = (label) => (card.decision_rule === "threshold" && label === card.labels[1] ? card.threshold ?? 0.5 : null);
  const rows = sorted.slice(0, SHOWN_CLASSES).map(([label, value]) => make("tr", null, make("th", { scope: "row" }, label),
    make("td", { class: "num" }, number(value)), make("td", null, shareBar(value, limit(label)))));
  const heads = [make("th", { scope: "col" }, card.target || said("Class", "类别")),
    make("th", { scope: "col", class: "num" }, said("Probability", "概率")), make("td")];
  const table = make("table", { id: "probabilities" }, make("thead", null, make("tr", null, ...heads)), make("tbody", null, ...rows));
  const rest = sorted.length - rows.length;
  const note = said(`${rest} less likely classes are not shown.`, `另有 ${rest} 个可能性更低的类别未显示。`);
  return make("div", { class: "scroll" }, table, rest > 0 && make("p", { class: "note" }, note));
}

function flags(predicted) {
  if (state.model.task === "tensors") return null;
  const named = (what) => (predicted.flags || []).filter((flag) => flag.what === what).map((flag) => flag.column).join(", ");
  const lines = [
    ["imputed", said("Missing, so filled in: ", "缺失，已填补：")],
    ["unseen", said("A value that training never saw: ", "训练中未见过的取值：")],
    ["truncated", said("Longer than the model reads, so cut: ", "超过模型可读的长度，已截断：")],
    ["outside", said("A number outside of the training range: ", "超出训练范围的数值：")],
    ["far", said("Far from every training row, mostly by: ", "与所有训练行都相差很远，主要在于：")],
  ].filter(([what]) => named(what)).map(([what, words]) => make("p", null, "! ", words, named(what)));
  return lines.length ? make("div", { class: "state warn" }, ...lines) : null;
}

function explained(why, row) {
  if (!why) return null;
  const width = Math.min(PLOT_PX, byId("result").clientWidth || PLOT_PX);
  const zh = SCALES_ZH[why.scale] || why.scale;
  const name = why.target && className(state.model, why.target);
  const label = name ? said(`${why.scale} of ${name}`, `${name} 的${zh}`) : said(why.scale, zh);
  const residual = number(why.residual);
  const caption = make("figcaption", null, why.method ? methodName(why.method) : "", said(
    `Base value + all columns + residual = output; the residual is ${residual}.`,
    `基准值 + 各列贡献 + 残差 = 输出；残差为 ${residual}。`));
  const unsound = why.adds_up === false && make("p", { class: "state bad" }, "✕ ", said(
    `This explanation does not add up: ${residual} of the output is left unexplained. Do not rely on it.`,
    `该解释不可依赖：输出中有 ${residual} 未被解释。`));
  const figure = make("figure", { id: "why" }, make("h3", null, said("Why", "原因")), unsound, waterfall(why, row, width, label), caption);
  return make("div", null, figure, ...partFigures(why.parts || [], row, label));
}

function terminal(name, action, row) {
  const whole = JSON.stringify({ instances: [row] });
  const body = whole.length > SHOWN_BODY ? "@row.json" : whole.replaceAll("'", "'\\''");
  const key = state.key ? ' -H "Authorization: Bearer $KEY"' : "";
  const line = `curl ${location.origin}${modelPath(name)}:${action}${key} -H 'Content-Type: application/json' -d '${body}'`;
  const title = make("summary", null, said("The same request from a terminal", "在终端中发送同样的请求"));
  return make("details", null, title, make("pre", { class: "command", tabindex: 0 }, make("code", null, line)));
}
