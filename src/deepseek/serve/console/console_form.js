// Trying a row: a form with the model's columns, and what it sends. Runs after console_draw.js and console_words.js.
const SHOWN_COLUMNS = 12; // the others open on demand
const MOST_OPTIONS = 60; // levels in a list to choose from; more are offered while one types
const FILES = ["image", "audio", "video", "volume", "series"];
const NUMERIC = /^(float|int|uint)/;
const A_NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

let numChoices = 0;

async function choose(name) {
  const able = state.models.filter((model) => !["causal-lm", "intents"].includes(model.task)); // those that write are asked elsewhere
  const known = (id) => able.find((model) => model.id === id);
  const picked = known(name) || known(state.model && state.model.id) || able[0];
  state.model = state.last = null;
  state.isChoosing = !!picked;
  const turn = ++numChoices;
  for (const id of ["result", "fields", "more"]) clear(byId(id)); // what stood there belongs to another model
  if (!picked) return;
  const [card, example] = await Promise.all([ask(modelPath(picked.id)), ask(`${modelPath(picked.id)}/example`)]);
  if (turn !== numChoices) return; // another was chosen meanwhile
  state.model = card;
  state.isChoosing = false;
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
  if (input.dtype === "bool" && input.modality !== "tensor") return make("div", { class: "field" }, label, choice(shared, text));
  const levels = input.levels || [];
  const control = levels.length ? levelEntry(shared, levels, text) : entry(shared, text);
  return make("div", { class: "field" }, label, control);
}

// The words that the server takes for true and false, as the two options.
function truth(word) {
  const known = word.trim().toLowerCase();
  if (["true", "yes", "y", "t", "on", "1"].includes(known)) return "true";
  return ["false", "no", "n", "f", "off", "0"].includes(known) ? "false" : "";
}

function choice(shared, text) {
  return make("select", shared, ...["", "true", "false"].map((value) => option(value, value === text)));
}

function option(value, selected) {
  const element = make("option", { selected }, value || UNKNOWN);
  element.value = value;
  return element;
}

// The levels that training knew, the most frequent first. Another value is taken, too: the answer says that it is unseen.
function levelEntry(shared, levels, text) {
  const known = text === "" || levels.includes(text) ? levels : [text, ...levels];
  if (known.length > MOST_OPTIONS) {
    const list = make("datalist", { id: `${shared.id}-levels` }, ...known.map((level) => option(level, false)));
    return make("div", null, entry({ ...shared, list: list.id }, text), list);
  }
  const others = [make("option", { class: "en" }, "another value …"), make("option", { class: "zh" }, "其他取值……")];
  const select = make("select", shared, ...["", ...known].map((level) => option(level, level === text)), ...others);
  select.addEventListener("change", () => {
    if (!others.includes(select.selectedOptions[0])) return;
    const typed = entry(shared, "");
    select.replaceWith(typed);
    typed.focus();
  });
  return select;
}

// A file is read here, and sent with the row as base64. Until one is chosen, the example's stands for it.
function fileEntry(shared, example) {
  const element = make("input", { ...shared, type: "file", class: "covered" }); // its own button speaks the browser's language
  const chosen = make("span", { class: "soft" });
  element.held = example ?? null;
  const preview = make("div", { class: "preview" });
  const refreshPreview = () => shared["data-modality"] === "image" && put(clear(preview), picture(element.held, shared["data-name"]));
  element.addEventListener("change", () => {
    element.held = null;
    refreshPreview();
    put(clear(chosen), ...(element.files.length ? [element.files[0].name] : [none]));
    if (!element.files.length) return;
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      element.held = { b64: reader.result.slice(reader.result.indexOf(",") + 1) };
      refreshPreview();
    });
    reader.readAsDataURL(element.files[0]);
  });
  const none = example ? said("a small example", "示例文件") : said("none", "无");
  put(chosen, none);
  refreshPreview();
  const button = make("label", { class: "file", for: shared.id }, said("Choose or drop a file", "选择或拖入文件"));
  const area = make("div", null, make("div", { class: "row" }, element, button, chosen), preview);
  area.addEventListener("dragover", (event) => event.preventDefault()); // else the browser opens what is dropped
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    if (!event.dataTransfer.files.length) return;
    element.files = event.dataTransfer.files;
    element.dispatchEvent(new Event("change"));
  });
  return area;
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
    const parts = state.model.has_parts ? { parts: true } : {};
    const why = action === "explain" ? (await ask(`${modelPath(name)}:explain`, { ...body, ...parts })).explanations[0] : null;
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
  const found = entries().find((one) => one.dataset.name === inputOf(message));
  if (!found) return;
  found.setAttribute("aria-invalid", "true");
  if (found.closest("details")) found.closest("details").open = true;
  found.focus();
}
