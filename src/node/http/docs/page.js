// Draws the reference from /openapi.json. No library, nothing from elsewhere; every text goes in as text, never as HTML.
"use strict";

const METHODS = ["get", "post", "patch", "put", "delete"];
let api;

/** Makes an element: make("p.soft", {id: "x"}, child, …). Children are elements or texts. */
function make(kind, attributes, ...children) {
  const [tag, ...classes] = kind.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function resolved(schema) {
  while (schema && schema.$ref) schema = schema.$ref.split("/").slice(1).reduce((at, part) => at[part], api);
  return schema || {};
}

/** Text with `code` and **strong** in it. */
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.startsWith("`")) return make("code", {}, part.slice(1, -1));
    if (part.startsWith("**")) return make("strong", {}, part.slice(2, -2));
    return part;
  });
}

function paragraphs(text) {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((part) => make("p", {}, inline(part.replace(/\n/g, " "))));
}

function operations() {
  return Object.entries(api.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method]).map((method) => {
    const operation = item[method];
    const parameters = [...(item.parameters || []), ...(operation.parameters || [])];
    return { path, method, operation, parameters, id: operation.operationId, tag: (operation.tags || ["Other"])[0] };
  }));
}

/** What type a schema is, in a few words. */
function kind(given) {
  const schema = resolved(given);
  const parts = schema.oneOf || schema.anyOf;
  const names = (part) => kind(part).replace(" or null", "");
  if (parts) return [...new Set(parts.map((part) => resolved(part).type === "null" ? "null" : names(part)))].join(" or ");
  const types = [].concat(schema.type || (schema.properties || schema.allOf ? "object" : "any"));
  return types.map((type) => {
    if (type === "array") return `array of ${names(schema.items)}s`.replace(/ss$/, "s");
    return schema.format && type !== "null" && !["int32", "int64"].includes(schema.format) ? `${type}, ${schema.format}` : type;
  }).join(" or ");
}

/** A limit as it is: the ends of 64-bit integers are beyond what a number holds here. */
function exact(limit) {
  const ends = { [2 ** 63]: "9223372036854775807", [2 ** 64]: "18446744073709551615", [-(2 ** 63)]: "-9223372036854775808" };
  return ends[limit] || String(limit);
}

/** What a value must keep to. */
function bounds(given) {
  const schema = resolved(given);
  const inner = (schema.oneOf || schema.anyOf || []).map(resolved).find((part) => part.type !== "null");
  const at = inner && !schema.enum ? { ...inner, ...schema } : schema;
  const said = [];
  if (at.enum && at.enum.length > 12) said.push(`one of ${at.enum.length}: ${at.enum.slice(0, 3).join(", ")} …`);
  else if (at.enum) said.push(at.enum.map((value) => `\`${value}\``).join(" · "));
  if (at.minimum !== undefined && at.maximum !== undefined) said.push(`${exact(at.minimum)} to ${exact(at.maximum)}`);
  else if (at.minimum !== undefined) said.push(`at least ${exact(at.minimum)}`);
  if (at.maxLength !== undefined) said.push(`at most ${at.maxLength} characters`);
  if (at.maxItems !== undefined) said.push(`${at.minItems || 0} to ${at.maxItems} items`);
  if (at.pattern) said.push(`pattern \`${at.pattern}\``);
  if (at.default !== undefined) said.push(`default \`${at.default}\``);
  return said;
}

/** The properties of a schema, those of its parts included. */
function properties(given) {
  const schema = resolved(given);
  const own = Object.entries(schema.properties || {});
  const required = new Set(schema.required || []);
  const inherited = (schema.allOf || []).flatMap((part) => [...properties(part), ...alternatives(part)]);
  return [...inherited, ...own.map(([name, value]) => ({ name, schema: value, required: required.has(name) }))];
}

/** The properties of a schema that has one of several forms, each property once. Only those of every form are required. */
function alternatives(given) {
  const forms = (resolved(given).oneOf || []).map(properties).filter((form) => form.length);
  const named = new Map();
  for (const property of forms.flat()) {
    const known = named.get(property.name) || property;
    const values = known === property ? [] : [...(known.schema.enum || []), ...(property.schema.enum || [])];
    const schema = values.length ? { ...known.schema, enum: values } : known.schema;
    const required = forms.every((form) => form.some((each) => each.name === property.name && each.required));
    named.set(property.name, { ...known, schema, required });
  }
  return [...named.values()];
}

function nested(given, depth) {
  const schema = resolved(given);
  const inner = [properties(schema), properties(schema.items), alternatives(schema)].find((list) => list.length);
  if (!inner || depth > 3) return null;
  return make("details", {}, make("summary", {}, "fields"), fields(inner, depth + 1));
}

function field({ name, schema, required, description, where }, depth) {
  const at = resolved(schema);
  const said = description || schema.description || at.description
    || ((at.oneOf || []).map(resolved).find((part) => part.description) || {}).description;
  return make("li", {},
    make("span.name", {}, name), make("span.kind", {}, where ? `${where} · ${kind(schema)}` : kind(schema)),
    required ? make("span.need", {}, "required") : null,
    said ? make("p", {}, inline(said.replace(/\n/g, " "))) : null,
    bounds(schema).map((bound) => make("p.more", {}, inline(bound))),
    nested(schema, depth));
}

function fields(list, depth = 0) {
  return make("ul.fields", {}, list.map((entry) => field(entry, depth)));
}

function body(given) {
  const schema = resolved(given);
  const forms = (schema.oneOf || []).filter((part) => resolved(part).type !== "null");
  if (forms.length > 1) {
    return forms.flatMap((part, at) => [make("p.either", {}, at ? "or " : "", kind(part)), body(part)].flat());
  }
  if (forms.length) return body(forms[0]);
  const list = properties(schema.items || schema);
  const said = schema.description ? paragraphs(schema.description) : [];
  return [...said, list.length ? fields(list) : make("p.either", {}, kind(schema))];
}

function highlighted(text) {
  const pieces = text.split(/("(?:[^"\\]|\\.)*")(\s*:)?|(\b-?\d+(?:\.\d+)?\b|\btrue\b|\bfalse\b|\bnull\b)/);
  const out = [];
  for (let at = 0; at < pieces.length; at += 4) {
    const [plain, string, colon, number] = pieces.slice(at, at + 4);
    if (plain) out.push(plain);
    if (string) out.push(make(colon ? "span.k" : "span.s", {}, string), colon || "");
    if (number) out.push(make("span.n", {}, number));
  }
  return out;
}

function sample(title, text, json) {
  const copy = make("button.copy", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  return [make("h4", {}, title), make("figure", {}, make("div", {}, make("pre", { tabindex: "0" }, json ? highlighted(text) : text), copy))];
}

/** A value for a parameter in the example call. */
function stand_in(parameter) {
  const schema = resolved(parameter.schema);
  return String(parameter.example ?? schema.example ?? (schema.examples || [])[0] ?? `{${parameter.name}}`);
}

function call({ path, method, operation, parameters }) {
  const into = (name) => parameters.filter((parameter) => parameter.in === name);
  const url = into("path").reduce((at, parameter) => at.replace(`{${parameter.name}}`, stand_in(parameter)), path);
  const lines = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}"$URL${url}"`];
  for (const parameter of into("header").filter((each) => each.required)) lines.push(`-H '${parameter.name}: ${stand_in(parameter)}'`);
  const content = Object.entries((operation.requestBody || {}).content || {})[0];
  if (content) {
    lines.push(`-H 'Content-Type: ${content[0]}'`);
    if (content[1].example !== undefined) lines.push(`-d '${JSON.stringify(content[1].example, null, 2)}'`);
  }
  return lines.join(" \\\n  ");
}

function answer([status, given]) {
  const response = resolved(given);
  const [first, ...codes] = (response.description || "").split(/\n- /);
  const said = [make("summary", {}, make(`span.status.s${status[0]}`, {}, status), make("span", {}, inline(first.trim())))];
  if (codes.length) said.push(make("ul.codes", {}, codes.map((code) => make("li", {}, inline(code.trim())))));
  const content = Object.entries(response.content || {});
  if (!codes.length) {
    for (const [type, media] of content) said.push(make("p.either", {}, make("code", {}, type)), ...body(media.schema || {}));
  }
  return make("details", status[0] === "2" ? { open: "" } : {}, said);
}

function example(operation) {
  const [status, response] = Object.entries(operation.responses).find(([code]) => code[0] === "2") || [];
  const media = Object.values((resolved(response).content) || {}).find((each) => each.example !== undefined);
  return media ? sample(`Answer ${status}`, JSON.stringify(media.example, null, 2), true) : [];
}

function section(entry) {
  const { path, method, operation, parameters, id } = entry;
  const shown = path.split(/(\{[^}]+\})/).map((part) => part.startsWith("{") ? make("i", {}, part) : part);
  const said = make("div.said", {}, paragraphs(operation.description));
  if (parameters.length) {
    const list = parameters.map((each) => ({ ...each, where: each.in }));
    said.append(make("h4", {}, "Parameters"), fields(list));
  }
  for (const [type, media] of Object.entries((operation.requestBody || {}).content || {})) {
    said.append(make("h4", {}, "Body ", make("code", {}, type)), ...body(media.schema || {}));
  }
  said.append(make("h4", {}, "Answers"), make("div.answers", {}, Object.entries(operation.responses).map(answer)));
  return make("section.operation", { id },
    make("header", {}, make("h3", {}, make("a", { href: `#${id}` }, operation.summary || id)),
      make("div.line", {}, make(`span.method.${method}`, {}, method), make("span.path", {}, shown))),
    said, make("aside", {}, make("div.near", {}, sample("Call", call(entry)), example(operation))));
}

function index_entry({ id, method, operation, path }) {
  const words = `${operation.summary} ${path} ${method} ${id}`.toLowerCase();
  return make("li", { "data-words": words },
    make("a", { href: `#${id}` }, make(`span.method.${method}`, {}, method), make("span", {}, operation.summary || id)));
}

function draw() {
  const main = document.getElementById("top");
  const index = document.getElementById("index");
  document.getElementById("version").textContent = api.info.version;
  document.title = `${api.info.title} API reference`;
  main.append(make("h1", {}, `${api.info.title} API`), make("div.intro", {}, paragraphs(api.info.description)));
  const all = operations();
  for (const tag of api.tags || []) {
    const own = all.filter((entry) => entry.tag === tag.name);
    if (!own.length) continue;
    index.append(make("div", {}, make("h2", {}, tag.name), make("ul", {}, own.map(index_entry))));
    main.append(make("div.tag", {}, make("h2", {}, tag.name), make("p", {}, tag.description || "")), ...own.map(section));
  }
  document.getElementById("state").remove();
}

/** Marks the operation on the screen in the contents. */
function follow() {
  const links = new Map([...document.querySelectorAll("#index a")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((seen) => {
    const entered = seen.find((entry) => entry.isIntersecting);
    if (!entered) return;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(entered.target.id)?.setAttribute("aria-current", "true");
  }, { rootMargin: "-15% 0px -75% 0px" });
  document.querySelectorAll(".operation").forEach((part) => watcher.observe(part));
}

function listen() {
  const contents = document.getElementById("contents");
  const menu = document.querySelector(".menu");
  const show = (open) => {
    contents.classList.toggle("open", open);
    menu.setAttribute("aria-expanded", String(open));
  };
  menu.addEventListener("click", () => show(!contents.classList.contains("open")));
  contents.addEventListener("click", (event) => { if (event.target.closest("a")) show(false); });
  document.getElementById("filter").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const group of document.querySelectorAll("#index > div")) {
      const entries = [...group.querySelectorAll("li")];
      for (const entry of entries) entry.hidden = !words.every((word) => entry.dataset.words.includes(word));
      group.hidden = entries.every((entry) => entry.hidden);
    }
  });
}

async function start() {
  try {
    const response = await fetch("/openapi.json");
    if (!response.ok) throw new Error(`status ${response.status}`);
    api = await response.json();
    draw();
    follow();
    listen();
    if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  } catch (error) {
    document.getElementById("top").append(make("p", {}, `The description cannot be shown: ${error.message}. `, make("a", { href: "/openapi.json" }, "/openapi.json")));
  }
}

start();
