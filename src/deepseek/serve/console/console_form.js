// Trying a row: a form with the model's columns, its answer, and why, as a plot. Runs after console_draw.js.
const SHOWN_COLUMNS = 12; // the others open on demand
const SHOWN_CLASSES = 10;
const SHOWN_NUMBERS = 8; // of an embedding
const SHOWN_BODY = 4000; // characters of a request: a longer one is a file's
const PLOT_PX = 736;
const FILES = ["image", "audio", "video", "volume", "series"];
const NUMERIC = /^(float|int|uint)/;
const A_NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

let numChoices = 0;

async function choose(name) {
  const able = state.models.filter((model) => model.task !== "causal-lm"); // those that write are asked elsewhere
  const known = (id) => able.find((model) => model.id === id);
  const picked = known(name) || known(state.model && state.model.id) || able[0];
  state.model = state.last = null;
  const turn = ++numChoices;
  for (const id of ["result", "fields", "more"]) clear(byId(id)); // what stood there belongs to another model
  if (!picked) return;
  const [card, example] = await Promise.all([ask(modelPath(picked.id)), ask(`${modelPath(picked.id)}/example`)]);
  if (turn !== numChoices) return; // another was chosen meanwhile
  state.model = card;
  state.example = (example.instances || [])[0] || {};
  byId("picker").hidden = able.length < 2;
  byId("explain").hidden = card.explainable === false;
  const options = able.map(({ id }) => make("option", { value: id, selected: id === picked.id }, id));
  put(clear(byId("model")), ...options);
  put(clear(byId("decision")), ...decision(card));
  fillForm(state.example);
}

function fillForm(row) {
  const all = (state.model.inputs || []).map((input, index) => field(input, index, row[input.name]));
  put(clear(byId("fields")), ...all.slice(0, SHOWN_COLUMNS));
  const rest = all.slice(SHOWN_COLUMNS);
  clear(byId("more"));
  if (!rest.length) return;
  const title = make("summary", null, said(`${rest.length} more columns`, `其余 ${rest.length} 列`));
  byId("more").append(make("details", null, title, make("div", { class: "fields" }, ...rest)));
}

function field(input, index, value) {
  const shared = { id: `field-${index}`, "data-name": input.name, "data-dtype": input.dtype, "data-modality": input.modality };
  if (FILES.includes(input.modality)) {
    return make("div", { class: "field" }, make("label", { for: shared.id, title: input.name }, input.name), fileEntry(shared, value));
  }
  // Twelve digits: 0.1 + 0.2 is shown, and sent, as 0.3.
  const known = typeof value === "number" ? Number(value.toPrecision(12)) : value;
  const plain = known === null || known === undefined ? "" : String(known);
  const told = input.modality === "tensor" && known !== undefined ? JSON.stringify(known) : plain;
  const text = input.dtype === "bool" && input.modality !== "tensor" ? truth(told) : told;
  const label = make("label", { for: shared.id, title: input.name }, input.name);
  const isChoice = input.dtype === "bool" && input.modality !== "tensor";
  return make("div", { class: "field" }, label, isChoice ? choice(shared, text) : entry(shared, text));
}

// The words that the server takes for true and false, as the two options.
function truth(word) {
  const known = word.trim().toLowerCase();
  if (["true", "yes", "y", "t", "on", "1"].includes(known)) return "true";
  return ["false", "no", "n", "f", "off", "0"].includes(known) ? "false" : "";
}

function choice(shared, text) {
  const words = { "": said("missing", "缺失"), true: "true", false: "false" };
  const options = Object.keys(words).map((value) => {
    const option = make("option", { selected: value === text }, typeof words[value] === "string" ? value : UNKNOWN);
    option.value = value;
    return option;
  });
  return make("select", shared, ...options);
}

// A file is read here, and sent with the row as base64. Until one is chosen, the example's stands for it.
function fileEntry(shared, example) {
  const element = make("input", { ...shared, type: "file" });
  element.held = example ?? null;
  element.addEventListener("change", () => {
    element.held = null;
    if (!element.files.length) return;
    const reader = new FileReader();
    reader.addEventListener("load", () => { element.held = { b64: reader.result.slice(reader.result.indexOf(",") + 1) }; });
    reader.readAsDataURL(element.files[0]);
  });
  const note = make("span", { class: "soft" }, said("without one: a small example", "未选择时：使用示例文件"));
  return make("div", null, element, note);
}

function entry(shared, text) {
  if (["text", "tensor"].includes(shared["data-modality"])) {
    const area = make("textarea", { ...shared, rows: 3, cols: 60, spellcheck: shared["data-modality"] === "text" ? "true" : "false" });
    area.value = text;
    return area;
  }
  const keyboard = NUMERIC.test(shared["data-dtype"]) && "decimal";
  const element = make("input", { ...shared, placeholder: UNKNOWN, autocomplete: "off", spellcheck: "false", inputmode: keyboard });
  element.value = text;
  return element;
}

const entries = () => Array.from(document.querySelectorAll("[data-name]"));
const readForm = () => Object.fromEntries(entries().map((one) => [one.dataset.name, entered(one)]));

function entered(one) {
  if (one.held !== undefined) return one.held;
  return one.dataset.modality === "tensor" ? nested(one.value) : parsed(one.value.trim(), one.dataset.dtype);
}

// A tensor is written as JSON; the server says what is wrong with anything else.
function nested(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function parsed(text, dtype) {
  if (text === "") return null;
  if (dtype === "bool") return text === "true";
  return NUMERIC.test(dtype) && A_NUMBER.test(text) ? Number(text) : text; // the server says what is wrong with a text
}

async function send(action) {
  if (!state.model) return; // its columns are still on their way
  const [row, name] = [readForm(), state.model.id];
  const body = { instances: [row] };
  for (const one of entries()) one.removeAttribute("aria-invalid");
  byId("form").setAttribute("aria-busy", "true");
  show("result", make("p", { class: "soft" }, said("Waiting for the answer …", "正在等待结果……")));
  try {
    const started = performance.now();
    const predicted = (await ask(`${modelPath(name)}:predict`, body)).predictions[0];
    const seconds = (performance.now() - started) / 1000;
    const why = action === "explain" ? (await ask(`${modelPath(name)}:explain`, body)).explanations[0] : null;
    state.last = { predicted, why, row, seconds, name, action };
    showResult();
  } catch (error) {
    state.last = null;
    show("result", error.gone ? lostRow() : errorBox(error));
    pointAt(error.message || "");
  }
  byId("form").removeAttribute("aria-busy");
}

const lostRow = () => stateBox("bad", said("The server does not answer. Your row is still here: try again when the server runs.",
  "服务器没有响应。输入已保留，服务器恢复后请重试。"));

// The field that an error names gets the focus.
function pointAt(message) {
  const named = (one) => message.includes(`'${one.dataset.name}'`) || message.includes(`"${one.dataset.name}"`);
  const found = entries().find(named);
  if (!found) return;
  found.setAttribute("aria-invalid", "true");
  if (found.closest("details")) found.closest("details").open = true;
  found.focus();
}

function showResult() {
  const { predicted, why, row, seconds, name, action } = state.last;
  const time = make("p", { class: "note" }, said(`Answered in ${duration(seconds)}, there and back.`, `往返用时 ${duration(seconds)}。`));
  show("result", headline(predicted), chances(predicted), flags(predicted), time, explained(why, row), terminal(name, action, row));
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
  if (predicted.entities) {
    const found = predicted.entities.map((one) => make("li", null, make("strong", null, one.text), ` ${one.label} ${number(one.probability)}`));
    return make("ul", { class: "answer", id: "predicted" }, ...(found.length ? found : [make("li", null, said("none found", "没有找到"))]));
  }
  const answer = make("strong", { id: "predicted" }, isClass ? predicted.label : number(predicted.value));
  const interval = predicted.interval ? ` [${predicted.interval.map(number).join(", ")}]` : "";
  return make("p", { class: "answer" }, target, answer, interval);
}

// What a bare graph gives, by name: the first numbers of each output.
function outputs(predicted) {
  const told = (value) => (typeof value === "number" || value === null ? number(value) : String(value));
  const rows = Object.entries(predicted).map(([name, value]) => {
    const flat = [value].flat(Infinity);
    const rest = flat.length > SHOWN_NUMBERS ? ", …" : "";
    return make("li", null, make("strong", null, name), ` ${flat.slice(0, SHOWN_NUMBERS).map(told).join(", ")}${rest}`);
  });
  return make("ul", { class: "answer", id: "predicted" }, ...rows);
}

function chances(predicted) {
  if (!predicted.probabilities || state.model.task === "tensors") return null;
  const sorted = Object.entries(predicted.probabilities).sort((one, other) => other[1] - one[1]);
  const rows = sorted.slice(0, SHOWN_CLASSES).map(([label, value]) => make("tr", null, make("th", { scope: "row" }, label),
    make("td", { class: "num" }, number(value)), make("td", null, shareBar(value))));
  const heads = [make("th", { scope: "col" }, said("Class", "类别")),
    make("th", { scope: "col", class: "num" }, said("Probability", "概率")), make("td")];
  const table = make("table", { id: "probabilities" }, make("thead", null, make("tr", null, ...heads)), make("tbody", null, ...rows));
  const rest = sorted.length - rows.length;
  const note = said(`${rest} less likely classes are not shown.`, `另有 ${rest} 个可能性更低的类别未显示。`);
  return make("div", { class: "scroll" }, table, rest > 0 && make("p", { class: "note" }, note));
}

function flags(predicted) {
  if (state.model.task === "tensors") return null;
  const named = (what) => (predicted.flags || []).filter((flag) => flag.what === what).map((flag) => flag.column).join(", ");
  const [imputed, unseen, cut] = [named("imputed"), named("unseen"), named("truncated")];
  const [outside, far] = [named("outside"), named("far")];
  if (!imputed && !unseen && !cut && !outside && !far) return null;
  return make("div", { class: "state warn" },
    imputed && make("p", null, "! ", said("Missing, so filled in: ", "缺失，已填补："), imputed),
    unseen && make("p", null, "! ", said("A value that training never saw: ", "训练中未见过的取值："), unseen),
    cut && make("p", null, "! ", said("Longer than the model reads, so cut: ", "超过模型可读的长度，已截断："), cut),
    outside && make("p", null, "! ", said("A number outside of the training range: ", "超出训练范围的数值："), outside),
    far && make("p", null, "! ", said("Far from every training row, mostly by: ", "与所有训练行都相差很远，主要在于："), far));
}

function explained(why, row) {
  if (!why) return null;
  const width = Math.min(PLOT_PX, byId("result").clientWidth || PLOT_PX);
  const scales = { "log-odds": "对数几率", probability: "概率", "target units": "目标单位" };
  const zh = scales[why.scale] || why.scale;
  const label = why.target ? said(`${why.scale} of ${why.target}`, `${why.target} 的${zh}`) : said(why.scale, zh);
  const residual = number(why.residual);
  const caption = make("figcaption", null, why.method ? `${why.method}. ` : "", said(
    `Base value + all columns + residual = output; the residual is ${residual}.`,
    `基准值 + 各列贡献 + 残差 = 输出；残差为 ${residual}。`));
  const unsound = why.adds_up === false && make("p", { class: "state bad" }, "✕ ", said(
    `This explanation does not add up: ${residual} of the output is left unexplained. Do not rely on it.`,
    `该解释不可依赖：输出中有 ${residual} 未被解释。`));
  return make("figure", { id: "why" }, make("h3", null, said("Why", "原因")), unsound, waterfall(why, row, width, label), caption);
}

function terminal(name, action, row) {
  const whole = JSON.stringify({ instances: [row] });
  const body = whole.length > SHOWN_BODY ? "@row.json" : whole.replaceAll("'", "'\\''");
  const key = state.key ? ' -H "Authorization: Bearer $KEY"' : "";
  const line = `curl ${location.origin}${modelPath(name)}:${action}${key} -H 'Content-Type: application/json' -d '${body}'`;
  const title = make("summary", null, said("The same request from a terminal", "在终端中发送同样的请求"));
  return make("details", null, title, make("pre", { class: "command", tabindex: 0 }, make("code", null, line)));
}
