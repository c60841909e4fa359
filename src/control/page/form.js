// Any fault with all its keys, as a form made from what the server says of its kinds.

import { $, el } from "./dom.js";
import { GROUPS } from "./presets.js";

let nth = 0;

/** The words of an example for a key's placeholder. */
const shown = (value) => (value === undefined || value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

const HINTS = {
  duration: "250ms, 2s, 1m",
  rate: "40/s",
  share: "30%",
  bytes: "64KiB",
  bandwidth: "64KiB/s",
  factor: "2x",
  texts: "one, two",
  "text-or-texts": "one, or one, two",
};

/** A field for a key; gives its element and how its value is read: undefined where nothing was said. */
function field(key, example, place, filled) {
  const id = `key-${++nth}`;
  const name = place ? `${place}.${key.name}` : key.name;
  const problem = el("span", { class: "problem", id: `${id}-problem` });
  const about = el("span", { class: "about", id: `${id}-about` }, key.summary + (key.default ? ` (${key.default})` : ""));
  const attributes = { id, "aria-describedby": `${id}-about ${id}-problem`, data: { place: name }, required: key.required };
  const choices = key.prefix ? `${key.choices.join(", ")}, or ${key.prefix}…` : "";
  const label = el("label", { for: id }, key.name, key.required ? el("span", { class: "muted" }, " needed") : null);
  let input;
  let read;
  if (key.keys && key.type === "table") {
    const inner = key.keys.map((one) => field({ ...one, required: one.required && (key.required || Boolean(filled && example)) }, example?.[one.name], name, filled));
    const element = el("details", { class: "group", open: key.required || Boolean(filled && example) }, el("summary", {}, key.name, el("span", { class: "about" }, ` ${key.summary}`)), problem, ...inner.map((one) => one.element));
    element.id = id;
    element.dataset.place = name;
    return {
      element,
      read() {
        const said = Object.fromEntries(inner.map((one) => [one.name, one.read()]).filter(([, value]) => value !== undefined));
        return Object.keys(said).length > 0 ? said : undefined;
      },
      name: key.name,
    };
  }
  if (key.type === "bool") {
    input = el("select", attributes, el("option", { value: "" }, "as by default"), el("option", { value: "true" }, "true"), el("option", { value: "false" }, "false"));
    read = () => (input.value === "" ? undefined : input.value === "true");
  } else if (key.type === "one-of" && !key.prefix) {
    input = el("select", attributes, el("option", { value: "" }, "as by default"), ...key.choices.map((choice) => el("option", { value: choice }, choice)));
    read = () => input.value || undefined;
  } else if (key.type === "integer" || key.type === "number") {
    input = el("input", { ...attributes, inputmode: "decimal", autocomplete: "off", placeholder: shown(example) });
    // What is no number is sent as it is: the server says what is wrong with it.
    read = () => (input.value.trim() === "" ? undefined : Number.isNaN(Number(input.value)) ? input.value : Number(input.value));
  } else {
    input = el("input", { ...attributes, autocomplete: "off", spellcheck: "false", placeholder: shown(example) || choices || HINTS[key.type] || "" });
    read = () => text(input.value, key.type);
  }
  if ((key.required || filled) && example !== undefined && example !== null) input.value = shown(example);
  return { element: el("div", { class: "field" }, label, input, about, problem), read, name: key.name };
}

/** A text as a value: lists by commas, tables as JSON. */
function text(said, type) {
  const value = said.trim();
  if (value === "") return undefined;
  if (/^[[{]/.test(value)) {
    try {
      return JSON.parse(value);
    } catch {
      return value;
    }
  }
  const parts = () => value.split(",").map((part) => part.trim()).filter(Boolean);
  if (type === "texts") return parts();
  if (type === "text-or-texts") return value.includes(",") ? parts() : value;
  if (type === "any" && value !== "" && !Number.isNaN(Number(value))) return Number(value);
  return value;
}

/** Opens the form for a dependency; `place` is asked to put the fault in force, and throws what is wrong. */
export function openForm(dependency, { kinds, common }, ttl, place) {
  const dialog = $("form");
  const carried = kinds.filter((kind) => kind.protocols.includes(dependency.protocol));
  const groups = GROUPS.map(([group, words]) => [words, carried.filter((kind) => kind.group === group)]).filter(([, members]) => members.length > 0);
  const select = el("select", { id: "form-kind" }, ...groups.map(([words, members]) => el("optgroup", { label: words }, ...members.map((kind) => el("option", { value: kind.name }, kind.name)))));
  const summary = el("p", { class: "about", id: "form-summary" });
  const own = el("div", { class: "fields" });
  const which = el("div", { class: "fields" });
  const lasts = el("input", { id: "form-ttl", value: ttl, required: true, autocomplete: "off", data: { place: "ttl" }, "aria-describedby": "form-ttl-about form-ttl-problem" });
  const problems = el("div", { class: "problems", role: "alert" });
  let fields = [];
  const choose = () => {
    const kind = carried.find((one) => one.name === select.value);
    summary.textContent = kind.summary;
    // An example of the protocol's own words fits that protocol alone.
    const fits = kind.protocols[0] === dependency.protocol || !["message", "capacity"].includes(kind.group);
    const keys = kind.keys.map((key) => field(key, kind.example?.[key.name], "", fits));
    const gates = (common ?? []).filter((key) => !(kind.refuses ?? []).includes(key.name)).map((key) => field(key, undefined, ""));
    own.replaceChildren(...(keys.length > 0 ? keys.map((one) => one.element) : [el("p", { class: "muted" }, "It has no settings of its own.")]));
    which.replaceChildren(...gates.map((one) => one.element));
    fields = [...keys, ...gates];
    problems.replaceChildren();
  };
  select.addEventListener("change", choose);
  const button = el("button", { class: "strong" }, "Switch on");
  const form = el(
    "form",
    { novalidate: true },
    el("h2", { id: "form-title" }, "A fault on ", el("span", { class: "name" }, dependency.name)),
    el("div", { class: "field" }, el("label", { for: "form-kind" }, "Kind"), select, summary),
    own,
    el("div", { class: "field" }, el("label", { for: "form-ttl" }, "For"), lasts, el("span", { class: "about", id: "form-ttl-about" }, "then it lifts itself: 30s, 5m, at most 1h"), el("span", { class: "problem", id: "form-ttl-problem" })),
    el("details", { class: "group" }, el("summary", {}, "Which requests it hits", el("span", { class: "about" }, " all of them, unless you say so here")), which),
    problems,
    el("p", { class: "tools end" }, el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), button),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = fields.map((one) => [one.name, one.read()]).filter(([, value]) => value !== undefined);
    button.disabled = true;
    try {
      await place({ ...Object.fromEntries(said), on: dependency.name, kind: select.value, ttl: lasts.value.trim() });
      dialog.close();
    } catch (error) {
      tell(form, problems, error);
    } finally {
      button.disabled = false;
    }
  });
  dialog.replaceChildren(form);
  choose();
  dialog.showModal();
  select.focus();
}

/** Puts each problem beside the field it is about; those of no field come last. */
export function tell(form, list, error) {
  for (const one of form.querySelectorAll(".problem")) one.textContent = "";
  for (const one of form.querySelectorAll("[aria-invalid]")) one.removeAttribute("aria-invalid");
  const rest = [];
  let first = null;
  for (const { place = "", what, hint } of error.problems ?? [{ what: error.message }]) {
    const words = hint ? `${what}: ${hint}` : what;
    const input = [...form.querySelectorAll("[data-place]")].find((one) => one.dataset.place === place || one.dataset.place === place.replace(/^attributes\./, ""));
    const beside = input && $(`${input.id}-problem`);
    if (beside) {
      beside.textContent = words;
      input.setAttribute("aria-invalid", "true");
      for (let group = input.closest("details"); group; group = group.parentElement.closest("details")) group.open = true;
      first ??= input;
    } else rest.push(place ? `${place}: ${words}` : words);
  }
  list.replaceChildren(...rest.map((words) => el("p", { class: "problem" }, words)));
  first?.focus();
}
