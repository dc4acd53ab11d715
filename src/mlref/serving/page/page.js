// Builds the form from the OpenAPI document, so that the contract stays the only place that names a column.
const at = (id) => document.getElementById(id);
const element = (name, text = "", properties = {}) =>
  Object.assign(document.createElement(name), { textContent: text }, properties);

let columns = {};
const days = new Set();

function field(name, schema) {
  const kinds = schema.anyOf ?? [schema];
  const kind = kinds.find((one) => one.type !== "null");
  const nullable = kinds.length > 1;
  const example = schema.examples[0];
  const label = element("label");
  label.append(element("span", schema.title));
  let input;
  const values = kind.type === "boolean" ? [true, false] : kind.enum;
  if (values) {
    input = element("select", "", { name });
    if (nullable) input.append(element("option", "not known", { value: "" }));
    values.forEach((one) => input.append(element("option", one, { selected: one === example })));
  } else if (kind.format === "date") {
    days.add(name);
    input = element("input", "", { name, type: "date", value: example, required: !nullable });
  } else {
    input = element("input", "", {
      name, type: "number", step: kind.multipleOf ?? "any",
      min: kind.minimum, max: kind.maximum, value: example, required: !nullable,
    });
  }
  label.append(input, element("small", schema.description));
  columns[name] = values ?? [];
  return label;
}

function cell(name, value) {
  if (value === "") return null;
  return columns[name].find((one) => String(one) === value) ?? (days.has(name) ? value : Number(value));
}

function ask(path, body) {
  const headers = { "content-type": "application/json" };
  const key = at("form").elements.key.value;
  if (key) headers.authorization = `Bearer ${key}`;
  return fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
}

async function showModel() {
  const response = await ask("v1/model");
  at("key").hidden = response.ok && !at("form").elements.key.value;
  if (!response.ok) return;
  const { model } = await response.json();
  at("model").textContent = `${model.name}, version ${model.version}, ${model.digest.slice(0, 12)}`;
}

async function predict(event) {
  event.preventDefault();
  const row = Object.fromEntries(
    Object.keys(columns).map((name) => [name, cell(name, at("form").elements[name].value)]));
  const answer = at("answer");
  answer.hidden = false;
  answer.className = "";
  try {
    const response = await ask("v1/predict", { instances: [row] });
    const content = await response.json();
    if (response.ok) {
      const [one] = content.predictions;
      const digits = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });
      answer.replaceChildren(
        element("strong", digits(one.value)),
        element("p", `Prediction interval ${digits(one.lower)} to ${digits(one.upper)}`),
        ...one.warnings.map((warning) => element("p", warning, { className: "warning" })));
      showModel();
    } else {
      answer.className = "refused";
      const details = content.error.details.map(
        (one) => element("li", `${one.column ?? "row"}: ${one.got}; allowed: ${one.allowed}`));
      const list = element("ul");
      list.append(...details);
      answer.replaceChildren(element("p", content.error.message), list);
      if (response.status === 401) at("key").hidden = false;
    }
  } catch (error) {
    answer.className = "refused";
    answer.replaceChildren(element("p", `The service does not answer: ${error.message}`));
  }
}

async function start() {
  const api = await (await fetch("openapi.json")).json();
  document.title = api.info.title;
  at("title").textContent = api.info.title;
  at("about").textContent = api.info.summary;
  const row = api.components.schemas.Row.properties;
  at("columns").replaceChildren(...Object.entries(row).map(([name, schema]) => field(name, schema)));
  at("form").addEventListener("submit", predict);
  showModel();
}

start();
