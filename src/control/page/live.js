// The live page: what the server says of its dependencies, and what is switched by hand.
//
// The server tells its whole state once, then twice a second what moved. Nothing is kept here that it
// does not say again after the connection was lost.

import { $, announce, clock, count, el, keyed, say, show } from "./dom.js";
import { Refused, ask, listen, onToken, remember } from "./api.js";
import { Run, Session, goesOn } from "./aside.js";
import { Calls } from "./calls.js";
import { Series, WINDOW } from "./draw.js";
import { openForm, tell } from "./form.js";
import { Lane, keyOf } from "./lanes.js";
import { PROTOCOLS, address } from "./presets.js";

/** Between two attempts to reach the server, in ms: ever longer, up to the last. */
const PAUSES = [500, 1000, 2000, 4000, 8000];

/** How much a fault is given more by one click, in ms. */
const MORE = 30000;

/** All that is known. */
const world = {
  about: {},
  kinds: null,
  now: 0,
  dependencies: new Map(),
  faults: new Map(),
  series: new Map(),
  run: null,
  isLost: true,
  /** When each fault was in force that was seen here: [names, from, to or null]. */
  spans: new Map(),
  /** What each fault was, also after it was lifted. */
  kindsOf: new Map(),

  /** Spans of time in which a fault was in force on a dependency. */
  spansOf(name, now) {
    return [...this.spans.values()].filter(({ on }) => on.includes(name)).map(({ from, to }) => [from, to ?? now]);
  },
  /** The kind of a fault that an attempt names. */
  kindOf(fault) {
    return typeof fault === "object" ? fault.kind : (this.kindsOf.get(fault) ?? `fault ${fault}`);
  },
  /** A moment of the server on the wall's clock. */
  wall(at) {
    return new Date(this.began + at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  },
};

const lanes = new Map();
let calls;
let run;
let session;

// ------------------------------------------------------------------ what is done

const act = {
  async place(fault) {
    const made = await changed(() => ask("POST", "/faults", { ttl: $("ttl").value, ...fault }));
    if (made) took(made);
  },
  async lift(fault) {
    await changed(() => ask("DELETE", `/faults/${fault.id}`));
  },
  async extend(fault) {
    const left = Math.min(3600000, Math.max(0, fault.ends_in_ms) + MORE);
    const renewed = await changed(() => ask("POST", `/faults/${fault.id}/renew`, { ttl: `${Math.round(left)}ms` }));
    if (!renewed) return;
    world.faults.set(renewed.id, renewed);
    announce(`${renewed.label}: ${clock(renewed.ends_in_ms)} left`);
    drawForce();
  },
  async liftAll() {
    if (world.faults.size > 0) await changed(() => ask("DELETE", "/faults"));
  },
  async extendAll() {
    for (const fault of world.faults.values()) await act.extend(fault);
  },
  async remove(name) {
    await changed(() => ask("DELETE", `/dependencies/${encodeURIComponent(name)}`));
    $("lanes-title").focus();
  },
  form(name) {
    const dependency = world.dependencies.get(name);
    if (!dependency || !world.kinds) return;
    openForm(dependency, world.kinds, $("ttl").value, async (fault) => took(await ask("POST", "/faults", fault)));
  },
};

/** Asks for a change; what is wrong is said at the top. */
async function changed(asking) {
  try {
    const answer = await asking();
    wrong("");
    return answer ?? true;
  } catch (error) {
    // What is gone already was to go.
    if (!(error instanceof Refused && error.status === 404)) wrong(error instanceof Refused ? error.message : "The server could not be reached: nothing was changed.");
    return null;
  }
}

function wrong(words) {
  let line = $("wrong");
  if (!line) {
    line = el("p", { id: "wrong", class: "problem", role: "alert" });
    $("force").append(line);
  }
  say(line, words);
}

function took(fault) {
  world.faults.set(fault.id, fault);
  noted(fault);
  drawForce();
  drawLanes();
}

// ------------------------------------------------------------------ what the server says

const hear = {
  state(state) {
    whole(state);
    calls.clear();
    ask("GET", "/calls?limit=100").then(({ calls: known, under_way: waiting }) => {
      calls.take(known);
      calls.waitFor(waiting ?? []);
      calls.draw();
    }, () => {});
  },
  changed: whole,
  tick(tick) {
    world.now = tick.at_ms;
    for (const { name, live } of tick.dependencies) {
      const known = world.dependencies.get(name);
      if (!known) continue;
      known.live = live;
      seriesOf(name).add(second(live, tick.at_ms));
    }
    for (const { id, ends_in_ms, acted } of tick.faults) {
      const known = world.faults.get(id);
      if (known) Object.assign(known, { ends_in_ms, acted });
    }
    run.show(tick.run ?? null);
    guests();
    draw();
    calls.waitFor(tick.under_way ?? []);
    calls.draw();
  },
  calls({ calls: changes }) {
    calls.take(changes);
    calls.draw();
  },
};

/** The last whole second; where the server does not say it, what the window says of one. */
function second(live, at) {
  if (live.second) return live.second;
  const begin = Math.floor(at / 1000) * 1000 - 1000;
  const part = (live.window_ms || 1000) / 1000;
  return {
    at_ms: begin,
    ok: (live.ok ?? 0) / part,
    failed: (live.failed ?? 0) / part,
    refused: (live.refused ?? 0) / part,
    unfinished: (live.unfinished ?? 0) / part,
    p50_ms: live.latency_ms?.p50 ?? null,
    p99_ms: live.latency_ms?.p99 ?? null,
    bytes: (live.bytes_in_per_s ?? 0) + (live.bytes_out_per_s ?? 0),
  };
}

function seriesOf(name) {
  if (!world.series.has(name)) world.series.set(name, new Series());
  return world.series.get(name);
}

function whole(state) {
  if (state.at_ms !== undefined) world.now = state.at_ms;
  world.dependencies = new Map();
  for (const one of state.dependencies) stands(one);
  const before = world.faults;
  world.faults = new Map(state.faults.map((one) => [one.id, one]));
  for (const fault of world.faults.values()) noted(fault);
  for (const [id, fault] of before) if (!world.faults.has(id)) gone(fault);
  run.show(state.run ?? null);
  guests();
  for (const key of world.series.keys()) if (!world.dependencies.has(key)) world.series.delete(key);
  session.show(state.session);
  draw();
}

/** Takes a dependency with all that is known of it. */
function stands(one) {
  world.dependencies.set(keyOf(one), one);
  seriesOf(keyOf(one)).fill(one.series);
  seriesOf(keyOf(one)).add(one.live.second);
}

/** Those of the scenario that runs are here as long as it does. */
function guests() {
  for (const [key, one] of world.dependencies) if (one.of === "run") world.dependencies.delete(key);
  if (goesOn(world.run)) for (const one of world.run.dependencies ?? []) stands({ ...one, of: "run" });
}

/** A fault that is in force is drawn from its beginning on; a new one is said. */
function noted(fault) {
  world.kindsOf.set(fault.id, fault.kind);
  if (world.spans.has(fault.id)) return;
  world.spans.set(fault.id, { on: fault.on, from: fault.since_ms, to: null });
  announce(`In force: ${fault.label}, for ${clock(fault.ends_in_ms)}`);
  for (const [id, { to }] of world.spans) if (to !== null && to < world.now - WINDOW) world.spans.delete(id);
}

function gone(fault) {
  const span = world.spans.get(fault.id);
  if (span) span.to = world.now;
  announce(fault.ends_in_ms <= 1000 ? `Its time is over: ${fault.label}` : `Lifted: ${fault.label}`);
}

// ------------------------------------------------------------------ what is drawn

function draw() {
  drawForce();
  drawLanes();
}

function drawForce() {
  const faults = [...world.faults.values()].sort((one, other) => one.ends_in_ms - other.ends_in_ms);
  const number = faults.length;
  say($("force-title"), number === 0 ? "No fault in force" : `${count(number, "fault")} in force`);
  $("force").classList.toggle("any", number > 0);
  show($("force-none"), number === 0);
  show($("lift-all"), number > 0);
  show($("extend-all"), number > 0);
  const list = $("faults");
  const focused = [...list.children].findIndex((row) => row.contains(document.activeElement));
  // In the order in which they were placed, so that no row moves away under a finger.
  keyed(list, faults.sort((one, other) => one.id - other.id), (fault) => fault.id, faultRow, fillFault);
  if (focused >= 0 && !list.contains(document.activeElement)) {
    const next = list.children[Math.min(focused, list.children.length - 1)];
    (next?.querySelector("button:last-of-type") ?? $("force-title")).focus();
  }
  crown(number);
}

/** The tab: its title and its icon say whether a fault is in force. */
function crown(number) {
  const title = world.isLost ? "Connection lost · Brownout" : number > 0 ? `(${number}) ${count(number, "fault")} in force · Brownout` : "Brownout";
  if (document.title !== title) document.title = title;
  const icon = `/page/icon${world.isLost ? "-lost" : number > 0 ? "-fault" : ""}.svg`;
  if ($("icon").getAttribute("href") !== icon) $("icon").setAttribute("href", icon);
}

function faultRow(fault) {
  const row = el("li", { class: "fault" });
  const lift = el("button", { type: "button", class: "strong", onclick: () => act.lift(world.faults.get(fault.id) ?? fault) }, "Lift");
  const more = el("button", { type: "button", onclick: () => act.extend(world.faults.get(fault.id) ?? fault) }, "+30 s");
  row.parts = { label: el("span", { class: "name" }), acted: el("span", { class: "acted muted" }), left: el("span", { class: "left" }), done: el("span", { class: "done" }), most: 0 };
  lift.setAttribute("aria-label", `Lift ${fault.label}`);
  more.setAttribute("aria-label", `+30 s for ${fault.label}`);
  row.append(row.parts.label, row.parts.acted, el("span", { class: "progress", "aria-hidden": "true" }, row.parts.done), row.parts.left, el("span", { class: "tools" }, more, lift));
  return row;
}

function fillFault(row, fault) {
  const { parts } = row;
  const left = Math.max(0, fault.ends_in_ms);
  parts.most = Math.max(parts.most, left, world.now - fault.since_ms + left);
  say(parts.label, fault.label);
  say(parts.acted, fault.acted > 0 ? `acted ${count(fault.acted, "time")}` : "has not acted yet");
  say(parts.left, `${clock(left)} left`);
  parts.done.style.width = `${parts.most > 0 ? (100 * left) / parts.most : 0}%`;
}

function drawLanes() {
  const all = [...world.dependencies.values()];
  const laned = all.length > 0;
  show($("legend"), laned);
  show($("lanes-tools"), laned);
  const built = $("make").dataset.for;
  const wanted = laned ? "more" : "first";
  if (built !== wanted) {
    $("make").dataset.for = wanted;
    $("make").replaceChildren(laned ? maker() : firstTime());
  }
  for (const name of lanes.keys()) if (!world.dependencies.has(name)) lanes.delete(name);
  keyed(
    $("lanes"),
    all,
    keyOf,
    (one) => {
      const lane = new Lane(one, world, act);
      lanes.set(keyOf(one), lane);
      return lane.element;
    },
    (element, one) => lanes.get(keyOf(one)).update(one),
  );
}

// ------------------------------------------------------------------ a dependency is made

/** Where there is none: what one is, and how to make the first. */
function firstTime() {
  return el(
    "div",
    { class: "empty first" },
    el("h3", {}, "Put Brownout between your program and what it depends on"),
    el(
      "ol",
      {},
      el("li", {}, "Say below what your program calls: a database, a store, an API. Brownout then listens in its place, and passes everything on."),
      el("li", {}, "Start your program with the address that you get."),
      el("li", {}, "Switch a fault on by a click, and see here what your program makes of it."),
    ),
    form(true),
    el("p", { class: "muted small" }, "Or start it with a file that names them all: ", el("code", {}, "brownout serve --system brownout.toml"), " (", el("code", {}, "brownout init"), " writes one)."),
  );
}

function maker() {
  return el("details", { class: "maker" }, el("summary", {}, "Add a dependency"), form(false));
}

function form(first) {
  const id = (name) => `make-${name}`;
  const about = (name, words) => el("span", { class: "about", id: `${id(name)}-about` }, words);
  const problem = (name) => el("span", { class: "problem", id: `${id(name)}-problem` });
  const input = (name, more) => el("input", { id: id(name), autocomplete: "off", spellcheck: "false", "aria-describedby": `${id(name)}-about ${id(name)}-problem`, data: { place: name }, ...more });
  const protocol = el("select", { id: id("protocol"), data: { place: "protocol" }, "aria-describedby": `${id("protocol")}-about ${id("protocol")}-problem` }, ...PROTOCOLS.map(([value, words]) => el("option", { value }, words)));
  const name = input("name", { placeholder: "store", required: true });
  const upstream = input("upstream", { placeholder: PROTOCOLS[0][2], required: true });
  const port = input("listen", { placeholder: "a free port" });
  const problems = el("div", { class: "problems", role: "alert" });
  const said = el("p", { class: "small", role: "status" });
  protocol.addEventListener("change", () => {
    upstream.placeholder = PROTOCOLS.find(([value]) => value === protocol.value)[2];
  });
  const field = (key, label, element, words) => el("div", { class: "field" }, el("label", { for: id(key) }, label), element, about(key, words), problem(key));
  const made = el(
    "form",
    { class: "fields", novalidate: true },
    field("name", "Name", name, "letters, digits, - and _"),
    field("protocol", "What it speaks", protocol, "faults on single requests need to know it"),
    field("upstream", "Where the real one is", upstream, "host and port, or a URL"),
    field("listen", "Where Brownout listens", port, "left empty: on a free port"),
    el("p", { class: "tools" }, el("button", { class: first ? "strong" : "" }, "Stand in front of it")),
    problems,
    said,
  );
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = { name: name.value.trim(), protocol: protocol.value, upstream: upstream.value.trim() };
    if (port.value.trim() !== "") body.listen = port.value.trim();
    try {
      const dependency = await ask("POST", "/dependencies", body);
      announce(`${dependency.name} listens on ${dependency.listen}`);
      say(said, `${dependency.name} listens: point your program at ${dependency.url ?? address(dependency.protocol, dependency.listen)}.`);
      for (const one of [name, upstream, port]) one.value = "";
      problems.replaceChildren();
      stands(dependency);
      drawLanes();
      lanes.get(dependency.name)?.title.focus();
    } catch (error) {
      tell(made, problems, error);
    }
  });
  return made;
}

// ------------------------------------------------------------------ the connection

let hurry = null;
let knownFrom = null;

/** Connected, or not: said in the head, over the page, in the tab. */
function connected(is) {
  if (is && world.isLost) {
    if (knownFrom !== null) announce("Connected again");
    say($("link-text"), "Live");
    $("link").className = "link live";
  } else if (!is && !world.isLost) {
    knownFrom = world.wall(world.now);
    $("link").className = "link lost";
    say($("link-text"), "Connection lost");
    say($("lost-since"), `What you see is from ${knownFrom}.`);
  }
  world.isLost = !is;
  document.body.classList.toggle("stale", !is && knownFrom !== null);
  show($("lost"), !is && knownFrom !== null);
  for (const button of document.querySelectorAll("main button, main select, main input")) if (!button.closest(".keep")) button.disabled = !is;
  run?.allow();
  crown(world.faults.size);
}

/** Waits, or until somebody hurries. */
async function wait(pause) {
  const until = Date.now() + pause;
  let hurried = false;
  for (let left = pause; left > 0 && !hurried; left = until - Date.now()) {
    say($("lost-next"), `Next attempt in ${Math.ceil(left / 1000)} s.`);
    await new Promise((wake) => {
      hurry = () => {
        hurried = true;
        wake();
      };
      setTimeout(wake, Math.min(500, left));
    });
  }
  say($("lost-next"), "Trying …");
}

async function first() {
  const before = world.about.started_at;
  world.about = await ask("GET", "");
  world.began = Date.parse(world.about.started_at);
  if (before !== world.about.started_at) {
    // Another server than the one before: its numbers and moments are others.
    for (const kept of [world.spans, world.series, world.faults, world.kindsOf]) kept.clear();
  }
  const whose = [world.about.system, `seed ${world.about.seed}`].filter(Boolean);
  say($("whose"), whose.join(" · "));
  say($("about"), `Brownout ${world.about.version}. Faults by hand always end: each has a time of its own, and all are lifted when the server stops.`);
  world.kinds = await ask("GET", "/kinds");
  for (const lane of lanes.values()) if (world.dependencies.has(lane.key)) lane.offer();
  await run.load();
}

async function follow() {
  for (let failures = 0; ; failures++) {
    try {
      await first();
      await listen("/stream", (name, data) => {
        failures = 0;
        if (world.isLost) connected(true);
        hear[name]?.(data);
      });
    } catch (error) {
      if (error instanceof Refused && error.status === 401) await new Promise((resolve) => $("token").addEventListener("close", resolve, { once: true }));
    }
    connected(false);
    if (knownFrom === null) say($("link-text"), "No connection yet");
    await wait(PAUSES[Math.min(failures, PAUSES.length - 1)]);
  }
}

onToken((wasWrong) => {
  if ($("token").open) return;
  say($("token-problem"), wasWrong ? "That is not the server’s token." : "");
  $("token").showModal();
});

// ------------------------------------------------------------------ keys

const KEYS_OFF = "brownout-keys-off";

/** The dependency in which the focus is, or the first. */
function current() {
  const lane = document.activeElement?.closest?.(".lane");
  return lane?.dataset.name ?? world.dependencies.keys().next().value;
}

const SHORT = {
  f: () => act.form(current()),
  l: () => act.liftAll(),
  e: () => act.extendAll(),
  c: () => session.copy(),
  s: () => $("run-title").focus(),
  h: () => calls.hold(),
  "?": () => $("keys").showModal(),
};

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
  if (event.key !== "?" && localStorage.getItem(KEYS_OFF)) return;
  const key = event.key.toLowerCase();
  if (/^[1-9]$/.test(key)) {
    const lane = [...lanes.values()][Number(key) - 1];
    if (!lane) return;
    lane.focus();
  } else if (SHORT[key]) {
    if (world.isLost && key !== "?") return;
    SHORT[key]();
  } else return;
  event.preventDefault();
}

// ------------------------------------------------------------------ it begins

calls = new Calls(world);
run = new Run(world);
session = new Session(world);
$("lift-all").addEventListener("click", () => act.liftAll());
$("extend-all").addEventListener("click", () => act.extendAll());
$("open-keys").addEventListener("click", () => $("keys").showModal());
$("retry").addEventListener("click", () => hurry?.());
$("keys-on").checked = !localStorage.getItem(KEYS_OFF);
$("keys-on").addEventListener("change", (event) => (event.target.checked ? localStorage.removeItem(KEYS_OFF) : localStorage.setItem(KEYS_OFF, "yes")));
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  remember($("token-text").value);
  $("token").close();
});
document.addEventListener("keydown", pressed);
follow();
